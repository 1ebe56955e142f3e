"""Builds what is missing. Layers and archives are kept by the content of what goes in, each whole or not at all."""

import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from toolchain.images.archive import Layer, write_archive, write_layer
from toolchain.images.contents import IMAGES, LAYERS, ImageRecipe, Workshop
from toolchain.images.guest import Guest
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError, exclusive, fingerprint, say

KEEP = 2  # of each layer and image, the latest used: clones that share a cache may differ, and an archive has hundreds of megabytes
LAYER_FOLDER = "layers"
# The modules that decide what is in a layer.
SOURCES = [Path(__file__).with_name(f"{name}.py") for name in ("archive", "contents", "guest", "python", "tree")]


def build(layout: Layout, names: Iterable[str] | None = None) -> dict[str, Path]:
    """The archives of these images (of all, if None), by name; those that are missing are built.

    Raises:
        PrepareError: no image has such a name, Debian's packages or the package index can't be had, or the disk is full.
    """
    wanted = list(IMAGES) if names is None else list(names)
    if unknown := [name for name in wanted if name not in IMAGES]:
        raise PrepareError(f"there is no image {', '.join(unknown)}; expected {', '.join(IMAGES)}")
    folder = layout.cache / "images"
    guest = Guest.fetch(layout)
    with exclusive(folder / ".lock", "the images"):
        found = {name: _image(layout, guest, folder, name, IMAGES[name]) for name in wanted}
        _remove_unused(folder)
    return found


def _image(layout: Layout, guest: Guest, folder: Path, name: str, recipe: ImageRecipe) -> Path:
    keys = [_layer_key(layout, guest, layer) for layer in recipe.layers]
    key = fingerprint(name, json.dumps(recipe.config, sort_keys=True), *keys)[:16]
    file = folder / key / f"{name.rpartition('/')[2].partition(':')[0]}.tar"
    if not file.is_file():
        began = time.monotonic()
        layers = [_layer(layout, guest, folder, layer, key) for layer, key in zip(recipe.layers, keys, strict=True)]
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        try:
            write_archive(partial, name, recipe.config, layers)
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
        say(f"image {name}: {file.stat().st_size / 1e6:.0f} MB, {time.monotonic() - began:.0f} s")
    os.utime(file)
    return file


def _layer_key(layout: Layout, guest: Guest, name: str) -> str:
    return fingerprint(name, os.uname().machine, guest.release, *SOURCES, *LAYERS[name].inputs(layout))[:16]


def _layer(layout: Layout, guest: Guest, folder: Path, name: str, key: str) -> Layer:
    """The layer from the cache, else made; the digest is in its file's name."""
    for found in folder.glob(f"{LAYER_FOLDER}/{name}-{key}-*.tar"):
        os.utime(found)
        return Layer(name, found, found.stem.rpartition("-")[2])
    say(f"making the image layer {name}")
    (folder / LAYER_FOLDER).mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="making-", dir=folder))
    try:
        partial = scratch / "layer.tar"
        digest = write_layer(LAYERS[name].make(Workshop(layout, guest, scratch)), partial)
        file = folder / LAYER_FOLDER / f"{name}-{key}-{digest}.tar"
        os.replace(partial, file)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Layer(name, file, digest)


def _remove_unused(folder: Path) -> None:
    """Removes archives and layers but the latest used ones, and what an interrupted build left. The lock is held."""
    kept: Counter[str] = Counter()
    for file in sorted(folder.glob("*/*.tar"), key=lambda file: -file.stat().st_mtime):
        kind = file.name.partition("-")[0] if file.parent.name == LAYER_FOLDER else file.name
        kept[kind] += 1
        if kept[kind] > KEEP:
            file.unlink()
    for leftover in [*folder.glob("making-*"), *(entry for entry in folder.glob("*/") if not any(entry.iterdir()))]:
        shutil.rmtree(leftover, ignore_errors=True)
