"""A cell for each device, in rows, states beside each other. Pure; `fleet.html.j2` draws it.

A state's cells are one area, filled with a pattern of cells: a page of a million devices is no larger than one of ten.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PITCH: Final = 10
"""From cell to cell, in the units of the drawing."""
_WIDTH_PIXELS, _HEIGHT_PIXELS = 1120, 320
_SIZES: Final = (16, 13, 10, 8, 6, 5, 4)
"""A cell's place on the screen, in pixels."""


@dataclass(frozen=True)
class Area:
    """state's cells. path: as SVG has it."""

    state: str
    path: str


@dataclass(frozen=True)
class Cells:
    """width, height: of the drawing. cell_pixels: how large a cell is shown."""

    width: int
    height: int
    cell_pixels: int
    areas: tuple[Area, ...]

    @property
    def pixels(self) -> int:
        """How wide it is shown."""
        return self.width // PITCH * self.cell_pixels

    @property
    def high_pixels(self) -> int:
        return self.height // PITCH * self.cell_pixels


def cells(counts: Mapping[str, int]) -> Cells:
    """Cells of so many devices by state, in that order."""
    devices = sum(counts.values())
    size = next((it for it in _SIZES if math.ceil(devices / (_WIDTH_PIXELS // it)) * it <= _HEIGHT_PIXELS), _SIZES[-1])
    columns = max(1, min(devices, _WIDTH_PIXELS // size))
    areas, first = [], 0
    for state, count in counts.items():
        if count:
            areas.append(Area(state, _path(first, first + count, columns)))
            first += count
    return Cells(columns * PITCH, max(1, math.ceil(devices / columns)) * PITCH, size, tuple(areas))


def _path(first: int, end: int, columns: int) -> str:
    """Around the cells from `first` to before `end`: the rest of a row, whole rows, the beginning of a row."""
    (top, left), (bottom, right) = divmod(first, columns), divmod(end, columns)
    if top == bottom:
        return _box(left, top, right, top + 1)
    parts = [_box(left, top, columns, top + 1)] if left else []
    if (whole := top + bool(left)) < bottom:
        parts.append(_box(0, whole, columns, bottom))
    return "".join([*parts, *([_box(0, bottom, right, bottom + 1)] if right else [])])


def _box(left: int, top: int, right: int, bottom: int) -> str:
    return f"M{left * PITCH} {top * PITCH}H{right * PITCH}V{bottom * PITCH}H{left * PITCH}z"
