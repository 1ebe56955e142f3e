"""The cache of layers and archives, with layers that cost nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from toolchain.images import builder
from toolchain.images.builder import KEEP, build
from toolchain.images.contents import ImageRecipe, LayerRecipe, Workshop
from toolchain.images.guest import Guest
from toolchain.images.tree import Entry, Tree
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError

ONE, TWO = "local/one:test", "local/two:test"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Two images that share a layer; gets the name of each layer that is made. `text` in the cache goes into the layer `top`."""
    names: list[str] = []

    def layer(name: str) -> Callable[[Workshop], Tree]:
        def make(workshop: Workshop) -> Tree:
            names.append(name)
            (workshop.scratch / "left").write_text("scratch")
            return {name: Entry(source=_text(workshop.layout)) if name == "top" else Entry(content=b"base")}

        return make

    recipes = {"base": LayerRecipe(layer("base")), "top": LayerRecipe(layer("top"), lambda layout: [_text(layout)])}
    monkeypatch.setattr(builder, "LAYERS", recipes)
    monkeypatch.setattr(builder, "IMAGES", {ONE: ImageRecipe(("base",), {}), TWO: ImageRecipe(("base", "top"), {"User": "1"})})
    (tmp_path / "guest").mkdir()
    monkeypatch.setattr(Guest, "fetch", classmethod(lambda cls, layout: cls(tmp_path / "guest")))
    return names


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty project."""
    (tmp_path / "text").write_text("first")
    return Layout(tmp_path, tmp_path / "cache")


def _text(layout: Layout) -> Path:
    return layout.project / "text"


def _files(layout: Layout) -> list[Path]:
    return sorted((layout.cache / "images").rglob("*.tar"))


def test_a_layer_is_made_once_for_all_images_and_builds(layout: Layout, made: list[str]):
    first = build(layout)
    assert list(first) == [ONE, TWO]
    assert [file.name for file in first.values()] == ["one.tar", "two.tar"]
    assert made == ["base", "top"]
    assert build(layout, [TWO]) == {TWO: first[TWO]}
    assert made == ["base", "top"]
    assert not list((layout.cache / "images").glob("making-*"))


def test_a_change_makes_only_the_layers_and_images_that_it_concerns(layout: Layout, made: list[str]):
    first = build(layout)
    _text(layout).write_text("second")
    second = build(layout)
    assert second[ONE] == first[ONE]
    assert second[TWO] != first[TWO]
    assert made == ["base", "top", "top"]


def test_an_archive_that_was_removed_is_made_of_the_layers_that_are_there(layout: Layout, made: list[str]):
    first = build(layout)
    content = first[TWO].read_bytes()
    first[TWO].unlink()
    assert build(layout)[TWO].read_bytes() == content
    assert made == ["base", "top"]


def test_a_layer_that_fails_leaves_nothing(layout: Layout, made: list[str], monkeypatch: pytest.MonkeyPatch):
    def fail(workshop: Workshop) -> Tree:
        (workshop.scratch / "half").write_text("x")
        raise PrepareError("no network")

    good = dict(builder.LAYERS)
    monkeypatch.setitem(builder.LAYERS, "top", LayerRecipe(fail, good["top"].inputs))
    with pytest.raises(PrepareError, match="no network"):
        build(layout)
    assert {file.name.partition("-")[0] for file in _files(layout)} == {"one.tar", "base"}
    assert not list((layout.cache / "images").glob("making-*"))
    monkeypatch.setitem(builder.LAYERS, "top", good["top"])
    assert build(layout)[TWO].is_file()


def test_an_archive_cut_off_half_way_is_made_again(layout: Layout, made: list[str], monkeypatch: pytest.MonkeyPatch):
    def cut_off(target: Path, *_: object) -> None:
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(builder, "write_archive", cut_off)
        with pytest.raises(OSError, match="No space"):
            build(layout, [ONE])
    assert build(layout, [ONE])[ONE].stat().st_size > 1000


def test_only_the_latest_of_each_layer_and_image_stay(layout: Layout, made: list[str]):
    leftover = layout.cache / "images" / "making-interrupted"
    leftover.mkdir(parents=True)
    (leftover / "layer.tar").write_text("half")
    archives = []
    for number in range(KEEP + 2):
        _text(layout).write_text(f"content {number}")
        archives.append(build(layout)[TWO])
        for file in _files(layout):  # as if the builds were a while apart
            os.utime(file, (file.stat().st_mtime - 60, file.stat().st_mtime - 60))
    assert [file.is_file() for file in archives] == [False, False, True, True]
    assert build(layout)[ONE].is_file()
    layers = [file.name.partition("-")[0] for file in (layout.cache / "images" / "layers").iterdir()]
    assert sorted(layers) == ["base", "top", "top"]
    assert not leftover.exists()
    assert not archives[0].parent.exists()


def test_an_unknown_name_is_refused_before_anything_is_fetched(layout: Layout, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Guest, "fetch", classmethod(lambda cls, layout: pytest.fail("fetched")))
    with pytest.raises(PrepareError, match=r"no image local/nothing:test; expected local/isthmus-serving:test"):
        build(layout, ["local/nothing:test"])
