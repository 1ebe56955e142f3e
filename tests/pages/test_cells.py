"""Cells of devices: as many as there are, side by side, and not one twice."""

import re

from hypothesis import given
from hypothesis import strategies as st

from isthmus.pages.cells import PITCH, cells


def covered(path: str) -> list[tuple[int, int]]:
    found = []
    for box in re.findall(r"M(\d+) (\d+)H(\d+)V(\d+)H\d+z", path):
        left, top, right, bottom = (int(it) // PITCH for it in box)
        found += [(column, row) for row in range(top, bottom) for column in range(left, right)]
    return found


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(0, 3000), min_size=1))
def test_each_device_has_one_cell_of_its_state_inside_of_the_drawing(counts: dict[str, int]) -> None:
    found = cells(counts)
    areas = {it.state: covered(it.path) for it in found.areas}
    assert {state: len(its) for state, its in areas.items()} == {state: count for state, count in counts.items() if count}
    every = [cell for its in areas.values() for cell in its]
    assert len(every) == len(set(every)) == sum(counts.values())
    assert all(column < found.width // PITCH and row < found.height // PITCH for column, row in every)


def test_a_large_fleet_has_small_cells_and_a_page_that_is_no_larger() -> None:
    few, many = cells({"a": 10, "b": 10}), cells({"a": 500_000, "b": 500_000})
    assert many.cell_pixels < few.cell_pixels
    assert few.pixels == 20 * few.cell_pixels
    assert len(str(many)) < len(str(few)) + 100
