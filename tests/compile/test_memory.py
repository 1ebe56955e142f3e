"""How much memory there is, and what a model may take of it."""

from pathlib import Path

import pytest

from isthmus.compile import memory
from isthmus.errors import SourceError


def test_this_machine_says_what_it_has() -> None:
    assert (memory.available_bytes() or 0) > 1 << 20


def test_a_control_groups_limit_counts_without_what_can_be_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("max", "3000000\n"), ("current", "2500000\n"), ("stat", "anon 5\ninactive_file 500000\n")):
        (tmp_path / f"memory.{name}").write_text(content)
    monkeypatch.setattr(memory, "_CGROUPS", ((tmp_path, "memory.max", "memory.current", "inactive_file"),))
    assert memory.available_bytes() == 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert (memory.available_bytes() or 0) > 1_000_000


@pytest.mark.parametrize("available", [None, memory.BASE_BYTES + 10 * memory.PEAK_FACTOR])
def test_a_model_that_fits_passes(monkeypatch: pytest.MonkeyPatch, available: int | None) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: available)
    memory.check_memory(10, "digits", "digits.model")


def test_a_model_that_does_not_fit_says_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 4_000_000_000)
    with pytest.raises(SourceError, match=r"digits.model: 'digits' holds 2\.0 GB: compiling it takes about .* and 4\.0 GB is free"):
        memory.check_memory(2_000_000_000, "digits", "digits.model")
