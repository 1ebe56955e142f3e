"""Files that a person asks for a prediction with, turned into a predict request."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import InputError, Problem

_FORMATS = ".npy, .json, .png, .jpg or .jpeg"


def load_request(file: Path, signature: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a predict call.

    Args:
        signature: of the model, as TensorFlow Serving's metadata call gives it (`inputs`, `outputs`).

    Raises:
        InputError: no such file, a format that is not known, or content that the model cannot take.
    """
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise InputError([Problem("--input", f"{file.name!r} is of no known format", _FORMATS)])
    if not file.is_file():
        raise InputError([Problem("--input", f"there is no file {str(file)!r}", _FORMATS)])
    return reader(file, signature)


def _json(file: Path, signature: Mapping[str, Any]) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError([Problem("--input", f"{file.name!r} is not JSON: {error}")]) from error
    if isinstance(content, dict) and ({"instances", "inputs"} & content.keys()):
        return content
    return {"instances": content if isinstance(content, list) else [content]}


def _npy(file: Path, signature: Mapping[str, Any]) -> dict[str, Any]:
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, OSError) as error:
        raise InputError([Problem("--input", f"{file.name!r} is not a .npy file: {error}")]) from error
    name, shape = _only_input(signature)
    if array.ndim == len(shape) - 1:
        array = array[np.newaxis]
    if array.ndim != len(shape) or any(want not in (-1, have) for want, have in zip(shape[1:], array.shape[1:], strict=True)):
        raise InputError([Problem("--input", f"{file.name!r} has shape {array.shape}", f"input {name!r} of shape {tuple(shape)}")])
    return {"instances": array.tolist()}


def _image(file: Path, signature: Mapping[str, Any]) -> dict[str, Any]:
    """Grey or colour as the model's last dimension says, resized to its height and width; floats in [0, 1]."""
    from PIL import Image, UnidentifiedImageError

    name, shape = _only_input(signature)
    if len(shape) != 4 or shape[3] not in (1, 3) or min(shape[1:3]) < 1:
        raise InputError([Problem("--input", f"input {name!r} of shape {tuple(shape)} is not an image", "a .npy or .json file")])
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("L" if shape[3] == 1 else "RGB").resize((shape[2], shape[1])))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError([Problem("--input", f"{file.name!r} is not an image that can be read")]) from error
    pixels = pixels.reshape(shape[1:])
    if signature["inputs"][name]["dtype"] in ("DT_FLOAT", "DT_HALF", "DT_DOUBLE"):
        pixels = pixels.astype(np.float32) / 255
    return {"instances": [pixels.tolist()]}


def _only_input(signature: Mapping[str, Any]) -> tuple[str, list[int]]:
    inputs = signature["inputs"]
    if len(inputs) != 1:
        raise InputError(
            [Problem("--input", f"the model has {len(inputs)} inputs: {', '.join(sorted(inputs))}", "a .json predict request")]
        )
    ((name, info),) = inputs.items()
    return name, [int(dim["size"]) for dim in info["tensor_shape"].get("dim", [])]


_READERS: dict[str, Callable[[Path, Mapping[str, Any]], dict[str, Any]]] = {
    ".json": _json,
    ".npy": _npy,
    ".png": _image,
    ".jpg": _image,
    ".jpeg": _image,
}
