from hypothesis import example, given
from hypothesis import strategies as st

from isthmus.pages.axes import BOTTOM, LEFT, RIGHT, TOP
from isthmus.pages.lines import MOST_MARKS, Spot, line

SPOTS = st.lists(st.tuples(st.floats(1e-3, 1e9), st.none() | st.floats(0, 1e9)), min_size=1, max_size=40, unique_by=lambda it: it[0])


def drawn(values, **more):
    spots = [Spot(x, y, ("",), chosen=index == 0) for index, (x, y) in enumerate(sorted(values, key=lambda it: it[0]))]
    return line(spots, now=spots[0].x, x_text=str, y_text=str, **more)


@given(SPOTS, st.none() | st.floats(1, 1e6), st.booleans())
@example([(1.0, 5e-324)], None, False)  # above which there is no number that a tick could stand at
def test_nothing_leaves_the_frame(values, y_top, steps):
    plot = drawn(values, y_top=y_top, steps=steps)
    at = [tuple(map(float, point.split(","))) for piece in plot.lines for point in piece.split()]
    at += [(mark.x, mark.y) for mark in plot.marks] + [(plot.now, TOP)]
    assert all(LEFT - 0.1 <= x <= RIGHT + 0.1 and TOP - 0.1 <= y <= BOTTOM + 0.1 for x, y in at)
    assert len(plot.marks) <= MOST_MARKS + 1


def test_a_gap_breaks_the_line_and_shades_what_follows():
    plot = drawn([(1, 1.0), (2, 2.0), (3, None), (4, None)])
    assert len(plot.lines) == 1
    assert plot.lines[0].split()[0].startswith(f"{LEFT + (RIGHT - LEFT) / 4:.1f},")
    assert plot.beyond == LEFT + (RIGHT - LEFT) * 3 / 4
    assert drawn([(1, 1.0), (2, 2.0)]).beyond is None


def test_a_line_that_leaves_the_plot_does_not_run_along_its_edge():
    (piece,) = drawn([(1, 1.0), (2, 20.0), (3, 30.0), (4, 40.0)], y_top=10.0).lines
    assert len(piece.split()) == 2


def test_steps_keep_their_height_up_to_the_next_spot():
    (piece,) = drawn([(1, 1.0), (2, 2.0)], steps=True).lines
    first, corner, last = (point.split(",") for point in piece.split())
    assert corner == [last[0], first[1]]
