"""What a .keras file says of itself, read without Keras: whether it is whole, and which of its layers carry code."""

import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from isthmus.errors import Problem

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
MAX_CONFIG_BYTES = 256 << 20
# Keras' safe mode refuses these when it meets them; here they are named before anything is loaded.
_UNSAFE_LAYERS = {
    "Lambda": "carries Python code",
    "TFSMLayer": "loads a SavedModel from a path",
    "TorchModuleWrapper": "carries a pickle",
}
_FIX = (
    "replace it (by a layer class that is registered with keras.saving.register_keras_serializable, see custom_objects), "
    "or set allow_unsafe: true where you trust whoever made the file"
)
_UNREADABLE = (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, ValueError, RecursionError, zlib.error)


def check_zip(file: Path, shown: str, where: str, members: Sequence[str], expected: str) -> Problem | None:
    """What is wrong with a zip archive that has to have these members."""
    try:
        with zipfile.ZipFile(file) as archive:
            missing = [member for member in members if member not in archive.namelist()]
    except _UNREADABLE as error:
        return Problem(where, f"{shown!r} cannot be read ({error})", expected, "save or copy it again")
    return Problem(where, f"{shown!r} lacks {', '.join(missing)}", expected, "save it again") if missing else None


def check_keras_file(file: Path, shown: str, where: str, *, allow_unsafe: bool) -> list[Problem]:
    """All that is wrong with a .keras file, as far as its index and its configuration show."""
    expected = "a file that Keras 3 saved with model.save()"
    problem = check_zip(file, shown, where, [CONFIG, WEIGHTS], expected)
    if problem:
        return [problem]
    try:
        with zipfile.ZipFile(file) as archive:
            size_bytes = archive.getinfo(CONFIG).file_size
            if size_bytes > MAX_CONFIG_BYTES:
                return [Problem(where, f"{CONFIG} in {shown!r} has {size_bytes} bytes", f"at most {MAX_CONFIG_BYTES}")]
            config = json.loads(archive.read(CONFIG))
    except _UNREADABLE as error:
        return [Problem(where, f"{CONFIG} in {shown!r} cannot be read ({error})", expected, "save or copy it again")]
    if not isinstance(config, dict) or "class_name" not in config:
        return [Problem(where, f"{CONFIG} in {shown!r} describes no model", expected, "save it again")]
    if allow_unsafe:
        return []
    return [
        Problem(where, f"layer {name!r} of {shown!r} is a {kind}: it {_UNSAFE_LAYERS[kind]}", "layers without code of their own", _FIX)
        for name, kind in _unsafe_layers(config)
    ]


def _unsafe_layers(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and class of each layer, however deep it is nested. A registered class of the user's may have any name."""
    waiting: list[Any] = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            kind, module = value.get("class_name"), str(value.get("module") or "keras")
            if (
                isinstance(kind, str)
                and kind in _UNSAFE_LAYERS
                and module.partition(".")[0] == "keras"
                and not value.get("registered_name")
            ):
                inner = value.get("config")
                yield str(inner.get("name", kind)) if isinstance(inner, dict) else kind, kind
            waiting += reversed(value.values())
        elif isinstance(value, list):
            waiting += reversed(value)


def unpacked_bytes(file: Path) -> int:
    """Size of the archive's members once they are unpacked. Raises OSError, zipfile.BadZipFile."""
    with zipfile.ZipFile(file) as archive:
        return sum(member.file_size for member in archive.infolist())
