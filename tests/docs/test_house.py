"""The picture of the house says what the imports say."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def house(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("house")


def test_the_picture_is_that_of_today(house: ModuleType) -> None:
    assert house.PICTURE.read_text(encoding="utf-8") == house.draw(house.read()), "draw it again: make house"


def test_every_room_is_in_a_layer(house: ModuleType) -> None:
    package = Path(house.PROJECT) / "components" / house.PACKAGE
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()} - {"__init__"}
    assert rooms == {room.name for layer in house.read().layers for room in layer}


def test_nothing_is_imported_upwards_and_a_picture_would_show_it(house: ModuleType) -> None:
    found = house.read()
    level = {room.name: number for number, layer in enumerate(found.layers) for room in layer}
    assert [pair for pair in found.imports if level[pair[0]] >= level[pair[1]]] == []
    roof, cellar = found.layers[0][0].name, found.layers[-2][0].name
    wrong = replace(found, imports={**found.imports, (cellar, roof): 1})
    assert f"{cellar} imports {roof} (1)" in house.draw(wrong)
