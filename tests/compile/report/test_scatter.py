import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from isthmus.compile.report import scatter as module
from isthmus.compile.report.scatter import Point, scatter
from isthmus.pages.axes import BOTTOM, LEFT, MOST_TICKS, RIGHT, TOP, WIDTH, linear_ticks, log_ticks

SIZES = st.floats(1e-3, 1e12)
VALUES = st.floats(-1e6, 1e6)


def _points(values: list[tuple[float, float]]) -> list[Point]:
    return [Point(f"recipe-{index}", x, y, ("",), chosen=index == 0) for index, (x, y) in enumerate(values)]


def _plot(values: list[tuple[float, float]], level: float | None = None) -> module.Plot:
    return scatter(_points(values), x_text=str, y_text=str, level=level)


@given(st.lists(st.tuples(SIZES, VALUES), min_size=1, max_size=9), st.none() | VALUES)
def test_every_point_lies_inside_the_frame_and_in_order(values, level):
    plot = _plot(values, level)
    assert all(LEFT < mark.x < RIGHT and TOP < mark.y < BOTTOM for mark in plot.marks)
    assert plot.level is None or TOP < plot.level < BOTTOM
    for (one, other), (x, y) in zip(itertools.pairwise(values), itertools.pairwise(plot.marks), strict=True):
        assert (one[0] < other[0]) <= (x.x <= y.x + 1e-9)
        assert (one[1] < other[1]) <= (x.y >= y.y - 1e-9)


@given(st.lists(st.tuples(SIZES, VALUES), min_size=1, max_size=9))
def test_no_two_labels_overlap_and_none_leaves_the_drawing(values):
    boxes = []
    for mark in _plot(values).marks:
        if mark.label:
            width = module.CHARACTER * len(mark.point.label)
            left = mark.label.x - {"start": 0.0, "end": width}[mark.label.anchor]
            middle = mark.label.y - module.LINE * 0.3
            boxes.append((left, middle - module.LINE / 2, left + width, middle + module.LINE / 2))
    assert all(box[0] >= 0 and box[2] <= WIDTH for box in boxes)
    for one, other in itertools.combinations(boxes, 2):
        assert one[0] >= other[2] - 1e-6 or other[0] >= one[2] - 1e-6 or one[1] >= other[3] - 1e-6 or other[1] >= one[3] - 1e-6


def test_a_long_label_in_the_middle_is_moved_into_the_frame():
    points = [
        Point("prune-filters:50%+prune:80%+int8-weights", 30.0, 0.5, ("",)),
        Point("a", 10.0, 0.1, ("",)),
        Point("b", 90.0, 0.9, ("",)),
    ]
    assert scatter(points, x_text=str, y_text=str).marks[0].label


def test_variants_at_the_same_place_still_get_labels_of_their_own():
    labels = [mark.label for mark in _plot([(100.0, 0.9)] * 6).marks]
    assert all(labels)
    assert sum(label.line_to is not None for label in labels) >= 2


@given(SIZES, st.floats(1.01, 1e9))
def test_a_logarithmic_axis_has_two_to_six_round_ticks(low, factor):
    ticks = log_ticks(low, low * factor)
    assert 1 <= len(ticks) <= MOST_TICKS
    assert all(low * (1 - 1e-9) <= tick <= low * factor * (1 + 1e-9) for tick in ticks)
    assert factor < 1.3 or len(ticks) > 1


def test_an_axis_within_a_decade_still_has_ticks_to_read_a_value_off() -> None:
    assert log_ticks(11_500.0, 31_000.0) == [15_000.0, 20_000.0, 25_000.0, 30_000.0]
    assert log_ticks(0.063, 5.9) == [0.1, 0.2, 0.5, 1.0, 2.0, 5.0]


@given(VALUES, st.floats(1e-3, 1e6))
def test_a_linear_axis_has_two_to_six_round_ticks(low, span):
    ticks = linear_ticks(low, low + span)
    assert 2 <= len(ticks) <= MOST_TICKS
    for tick in ticks:
        assert low - 1e-6 * span <= tick <= low + span * (1 + 1e-6)


def test_a_small_difference_of_accuracy_does_not_fill_the_plot():
    plot = scatter(_points([(10.0, 0.990), (20.0, 0.991)]), x_text=str, y_text=str, least_span=0.01)
    assert abs(plot.marks[0].y - plot.marks[1].y) < (BOTTOM - TOP) / 8


def test_no_tick_says_more_than_everything():
    plot = scatter(_points([(10.0, 1.0), (20.0, 0.999)]), x_text=str, y_text=lambda value: f"{value:.4f}", least_span=0.01, y_most=1.0)
    assert max(float(tick.text) for tick in plot.y_ticks) == 1.0


def test_a_whisker_ends_inside_the_frame():
    plot = scatter([Point("a", 1.0, 0.5, ("",), x_to=40.0)], x_text=str, y_text=str)
    assert plot.marks[0].x < (plot.marks[0].x_to or math.inf) < RIGHT
