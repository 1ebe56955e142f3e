from dataclasses import replace

import pytest
from rich.console import Console

from isthmus.compile.report import table


def _shown(release, width: int) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(table(release))
    return captured.get()


def test_the_table_has_every_figure_and_says_which_was_chosen_and_why(release):
    text = _shown(release, 160)
    line = next(line for line in text.splitlines() if line.startswith("✓ prune"))
    figures = "prune:80%+int8 98.44 % −0.67 86.91 kB 17.69 kB 3.80× 0.0303 0.0349 1.012 MB 0.910× 0.19 0.021"
    assert " ".join(line.split()[1:]) == figures
    assert "✓ chosen: prune:80%+int8: 17.2× smaller than float32" in text
    assert "source: accuracy 99.11 % on 450 held-out examples; “smaller” is against the float32 file, 330.3 kB; times on x86" in text
    assert "left out" not in text


def test_a_variant_that_is_out_shows_why_and_no_figures(release):
    text = _shown(release, 160)
    assert "✗ distil:50%+int8: training took longer than 900 s" in text
    assert next(line for line in text.splitlines() if line.startswith("✗ distil")).split() == ["✗", "distil:50%+int8"]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_no_figure_is_cut_at_any_width(release, width):
    text = _shown(release, width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert "…" not in text
    assert "98.44 %" in text


def test_a_narrow_terminal_names_the_columns_that_it_leaves_out(release):
    text = " ".join(_shown(release, 80).split())
    assert "left out for want of room: p95 ms, memory, weight error, max diff, mean diff" in text


def test_without_evaluation_data_it_says_so(release):
    candidates = tuple(replace(it, accuracy=None) for it in release.record.candidates)
    manifest = replace(release.manifest, source_accuracy=None, evaluation_examples=0)
    text = _shown(replace(release, manifest=manifest, record=replace(release.record, candidates=candidates)), 160)
    assert "no evaluation data: the accuracy is unknown" in text


def test_brackets_in_names_are_text_and_not_markup(renamed):
    assert "[bold]x[/bold]" in _shown(renamed("[bold]x[/bold]"), 400)
