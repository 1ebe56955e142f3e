from dataclasses import replace

import pytest

from isthmus.compile.report import rows
from isthmus.release.manifest import Candidate, Layer, Release


def _with(release: Release, *candidates: Candidate) -> Release:
    return replace(release, record=replace(release.record, candidates=candidates))


def test_the_largest_file_comes_first_and_what_is_out_comes_last(release):
    found = rows.rows_of(release)
    assert [row.recipe for row in found][:2] == ["float32", "float16"]
    assert [row.problem != "" for row in found] == [False] * 7 + [True]
    assert [row.recipe for row in found if row.chosen] == ["prune:80%+int8"]


def test_figures_are_against_the_source_and_the_float32_file(release):
    row = next(row for row in rows.rows_of(release) if row.chosen)
    assert row.lost_points == pytest.approx(300 / 450)
    assert row.times_smaller == pytest.approx(330_344 / 86_912)
    assert row.shipped_times_smaller == pytest.approx(305_118 / 17_690)
    assert rows.baseline_of(release) == rows.Baseline(330_344, "the float32 file", 305_118)


def test_without_a_float32_file_the_saved_model_is_what_is_compared_with(release):
    alone = _with(release, release.record.candidates[6])
    assert rows.baseline_of(alone) == rows.Baseline(402_118, "the SavedModel")
    assert rows.rows_of(alone)[0].shipped_times_smaller is None  # nobody compressed it
    edge_only = replace(alone, manifest=replace(alone.manifest, variants=alone.manifest.variants[1:]))
    assert rows.baseline_of(edge_only) is None
    assert rows.rows_of(edge_only)[0].times_smaller is None


def test_a_record_from_before_variants_were_recorded_shows_the_edge_variant(release):
    (row,) = rows.rows_of(_with(release))
    assert (row.recipe, row.size_bytes, row.chosen) == ("prune:80%+int8", 86_912, True)
    assert row.accuracy == release.manifest.variants[1].accuracy


def test_the_chosen_recipe_is_not_chosen_where_it_is_out(release):
    found = rows.rows_of(_with(release, replace(release.record.candidates[6], problem="NaN")))
    assert not any(row.chosen for row in found)


def test_weight_error_is_of_all_weights_together():
    layers = (Layer("a", (2,), 8, 1.0, 2.0), Layer("b", (2,), 8, 5.0, 6.0), Layer("zeros", (2,), 8, 0.0, 0.0))
    assert rows.weight_error(layers) == 0.75
    assert rows.weight_error(layers[2:]) is None
    assert rows.weight_error(()) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (rows.share(446 / 450), "99.11 %"),
        (rows.share(0.989999), "98.99 %"),
        (rows.share(None), "–"),
        (rows.points(0.2222), "−0.22"),
        (rows.points(-0.1), "+0.10"),
        (rows.points(0.001), "0.00"),
        (rows.points(None), "–"),
        (rows.size(86_912), "86.91 kB"),
        (rows.size(10_300), "10.30 kB"),
        (rows.size(999_990), "1000 kB"),
        (rows.size(512), "512 bytes"),
        (rows.size(0), "–"),
        (rows.times(3.8), "3.80×"),
        (rows.times(18.66), "18.7×"),
        (rows.milliseconds(0.03), "0.0300"),
        (rows.milliseconds(123.4), "123"),
        (rows.milliseconds(0), "–"),
        (rows.against_min_max(0.6612), "0.661×"),
    ],
)
def test_figures_read_well(text, shown):
    assert text == shown


def test_another_metric_heads_its_column_with_what_it_means():
    first = rows.columns("r2")[0]
    assert first.head == "r2"
    assert "squared error" in first.about
    assert rows.columns("my own")[0].head == "my own"


def test_a_release_for_servers_alone_has_one_row_and_the_columns_that_mean_something(release):
    manifest = replace(release.manifest, recipe="serving-only", variants=release.manifest.variants[:1])
    served = replace(release, manifest=manifest, record=replace(release.record, edge=None, candidates=()))
    assert rows.baseline_of(served) is None
    (row,) = rows.rows_of(served)
    assert (row.recipe, row.chosen, row.size_bytes, row.times_smaller) == ("serving-only", True, 402_118, None)
    assert row.p50_ms == release.record.serving.p50_ms
    shown = rows.columns("accuracy", edge=False)
    assert [column.head for column in shown] == ["accuracy", "Δ points", "on disk", "p50 ms", "p95 ms", "max diff", "mean diff"]
    assert shown[2].about == "bytes of the SavedModel"
