"""Draws docs/house.svg: the rooms of the package in the layers of the walls' contract, and which of them import which.

`make house` writes it. Layers come from the contract in pyproject.toml that lint-imports checks, arrows from the imports
themselves, so that the picture cannot say anything else than the code (tests/docs/test_house.py).
"""

import ast
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import grimp

PROJECT = Path(__file__).resolve().parents[1]
PICTURE = PROJECT / "docs" / "house.svg"
PACKAGE = "isthmus"

WIDTH = 1180
MARGIN = 24
ROW_HEIGHT = 84
GROUND_LAYERS = 2
BOX_HEIGHT = 44
LETTER_WIDTH = 8.2
NOTE = "the two lowest layers are the ground floor: every room uses it, so its arrows are not drawn"
STYLE = """
text { font: 14px ui-monospace, monospace; fill: #1c2733; text-anchor: middle }
text.small { font-size: 11px; fill: #5a6b7b }
rect { fill: #eef3f8; stroke: #7b93ab; rx: 7 }
path { fill: none; stroke: #3f6f9f; stroke-opacity: .42; marker-end: url(#tip) }
path.side { stroke: #b0672d; stroke-opacity: .7 }
#tip path { fill: #3f6f9f; fill-opacity: .6; stroke: none; marker-end: none }
@media (prefers-color-scheme: dark) {
  svg { background: #11181f }
  text { fill: #dde6ee } text.small { fill: #93a5b6 }
  rect { fill: #1d2833; stroke: #5d7890 }
  path { stroke: #7fb0e0 } #tip path { fill: #7fb0e0 }
}
"""


@dataclass(frozen=True)
class Room:
    """A module or folder right below the package. modules: how many it has. purpose: its docstring's first line."""

    name: str
    modules: int
    purpose: str


@dataclass(frozen=True)
class House:
    """layers: from the roof down. imports: (room, room that it imports) → how many import statements."""

    layers: tuple[tuple[Room, ...], ...]
    imports: Mapping[tuple[str, str], int]


def layers_of(pyproject: Path) -> list[list[str]]:
    """The rooms of the layers contract, top down, without the package's name."""
    contracts = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = [it for it in contracts if it["type"] == "layers" and it["containers"] == [PACKAGE]]
    rows = [[part.strip(" ()") for part in layer.replace(":", "|").split("|")] for layer in contract["layers"]]
    return [[name.removeprefix(f"{PACKAGE}.") for name in row] for row in rows]


def read() -> House:
    """The house as it stands in the code."""
    graph = grimp.build_graph(PACKAGE)
    members: Counter[str] = Counter()
    imports: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        room = _room_of(module)
        members[room] += 1
        for imported in graph.find_modules_directly_imported_by(module):
            if _room_of(imported) != room:
                imports[room, _room_of(imported)] += len(graph.get_import_details(importer=module, imported=imported))
    layers = tuple(
        tuple(Room(name, members[name], _purpose(name)) for name in row if members[name]) for row in layers_of(PROJECT / "pyproject.toml")
    )
    known = {room.name for layer in layers for room in layer}
    return House(layers, {pair: count for pair, count in sorted(imports.items()) if set(pair) <= known})


def _room_of(module: str) -> str:
    return f"{module}.".split(".")[1]


def _purpose(room: str) -> str:
    package = PROJECT / "components" / PACKAGE
    file = next(it for it in (package / room / "__init__.py", package / f"{room}.py") if it.is_file())
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def draw(house: House) -> str:
    """The picture as SVG. Arrows go down; one between rooms of the same layer is drawn in another colour.

    The lowest layers are what every room uses: arrows to them would hide all others, so a line of text says it.
    """
    places = {room.name: place for row, layer in enumerate(house.layers) for room, place in _placed(layer, row)}
    bottom = MARGIN + (len(house.layers) - 1) * ROW_HEIGHT + BOX_HEIGHT
    ground = {room.name for layer in house.layers[-GROUND_LAYERS:] for room in layer}
    drawn = {pair: count for pair, count in house.imports.items() if pair[1] not in ground}
    arrows = [_arrow(places[a], places[b], f"{a} imports {b} ({count})", count) for (a, b), count in drawn.items()]
    boxes = [_box(room, *places[room.name]) for layer in house.layers for room in layer]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 2 * MARGIN}" role="img" '
            'aria-label="The rooms of the package">',
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto" '
            'markerUnits="userSpaceOnUse"><path d="M0 1 8 4 0 7z"/></marker></defs>',
            *arrows,
            *boxes,
            f'<text class="small" x="{WIDTH // 2}" y="{bottom + MARGIN}">{NOTE}</text>',
            "</svg>",
            "",
        ]
    )


def _placed(layer: Sequence[Room], row: int) -> list[tuple[Room, tuple[float, float, float]]]:
    """Each room's middle and width, spread evenly over the row, and its row's top."""
    widths = [max(92.0, len(room.name) * LETTER_WIDTH + 24) for room in layer]
    gap = (WIDTH - 2 * MARGIN - sum(widths)) / (len(layer) + 1)
    left, found = MARGIN + gap, []
    for room, width in zip(layer, widths, strict=True):
        found.append((room, (left + width / 2, float(MARGIN + row * ROW_HEIGHT), width)))
        left += width + gap
    return found


def _arrow(start: tuple[float, float, float], end: tuple[float, float, float], title: str, count: int) -> str:
    (x1, y1, _), (x2, y2, _) = start, end
    thickness = min(3.2, 0.7 + count / 12)
    if y1 == y2:  # a bow below the row
        bottom = y1 + BOX_HEIGHT
        curve, kind = (
            f"M{x1:.0f} {bottom:.0f} C{x1:.0f} {bottom + 34:.0f} {x2:.0f} {bottom + 34:.0f} {x2:.0f} {bottom + 2:.0f}",
            ' class="side"',
        )
    else:
        (top, bottom) = (y1 + BOX_HEIGHT, y2) if y1 < y2 else (y1, y2 + BOX_HEIGHT)
        bend = (bottom - top) * 0.45
        curve, kind = f"M{x1:.0f} {top:.0f} C{x1:.0f} {top + bend:.0f} {x2:.0f} {bottom - bend:.0f} {x2:.0f} {bottom:.0f}", ""
    return f'<path{kind} d="{curve}" stroke-width="{thickness:.1f}"><title>{escape(title)}</title></path>'


def _box(room: Room, x: float, y: float, width: float) -> str:
    what = f"{room.modules} module{'s' if room.modules > 1 else ''}"
    return (
        f'<g><title>{escape(f"{room.name}: {room.purpose}")}</title><rect x="{x - width / 2:.0f}" y="{y:.0f}" width="{width:.0f}" '
        f'height="{BOX_HEIGHT}"/><text x="{x:.0f}" y="{y + 19:.0f}">{escape(room.name)}</text>'
        f'<text class="small" x="{x:.0f}" y="{y + 35:.0f}">{what}</text></g>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(read()), encoding="utf-8")
