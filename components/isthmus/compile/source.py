"""Finding a model source on disk, and telling what is wrong with it without TensorFlow.

Nothing here runs or imports the user's code.
"""

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isthmus.compile.python_source import find_module_function
from isthmus.errors import Problem
from isthmus.release.hashing import FileRange

KERAS = "keras"
SAVED_MODEL = "saved_model"
FUNCTION = "function"
EVALUATION_NAME = "evaluation.npz"
KERAS_NAME = "model.keras"
SAVED_MODEL_NAME = "saved_model.pb"
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_KINDS = "a folder with model.keras or saved_model.pb, a .keras file, or module:function"
_UNSUPPORTED = {
    ".tflite": "a .tflite file has no serving variant; give the Keras model or SavedModel that it was made from",
    ".h5": "load it with Keras and save it again as .keras",
    ".hdf5": "load it with Keras and save it again as .keras",
    ".onnx": "convert it to a SavedModel first",
    ".pt": "convert it to a SavedModel first",
    ".pth": "convert it to a SavedModel first",
}


@dataclass(frozen=True)
class Source:
    """A source that was found.

    kind: KERAS, SAVED_MODEL or FUNCTION.
    path: the .keras file, the SavedModel's folder, or the file of the module.
    name: as the user wrote it.
    files: what the compiled model depends on, by a name that does not depend on where the source lies.
    """

    kind: str
    path: Path
    name: str
    files: tuple[tuple[str, Path], ...]
    evaluation: Path | None
    base_directory: Path


def find_source(name: str, evaluation: Path | None, base_directory: Path, path: str) -> tuple[Source | None, list[Problem]]:
    """The source, and all that is wrong with it; the source is None only where there are problems.

    Args:
        path: property path for the problems.
    """
    prefix = f"{path}." if path else ""
    where = f"{prefix}model"
    base = base_directory.absolute()
    location = base / name
    problems: list[Problem] = []
    source = None
    own_evaluation = None
    if not name:
        problems.append(Problem(where, "no model is named", _KINDS))
    elif not location.exists() and _FUNCTION.fullmatch(name):
        files, found = find_module_function(name, base, where)
        problems += found
        source = Source(FUNCTION, files[0][1], name, files, None, base) if files else None
    elif not location.exists():
        problems.append(Problem(where, f"there is no model {name!r} in {base}", _KINDS, "correct the path"))
    elif location.is_dir() and (location / SAVED_MODEL_NAME).is_file():
        own_evaluation = location / EVALUATION_NAME
        source = Source(SAVED_MODEL, location, name, _saved_model_files(location), None, base)
    elif location.is_dir() and (location / KERAS_NAME).is_file():
        own_evaluation = location / EVALUATION_NAME
        source, found = _keras(location / KERAS_NAME, name, base, where)
        problems += found
    elif location.is_dir():
        problems.append(_odd_folder(location, name, where))
    elif location.suffix == ".keras":
        source, found = _keras(location, name, base, where)
        problems += found
    else:
        fix = _UNSUPPORTED.get(location.suffix.lower(), "")
        problems.append(Problem(where, f"{name!r} is not a kind of model that can be compiled", _KINDS, fix))

    if evaluation is not None:
        own_evaluation = base / evaluation
        problems += _check_evaluation(own_evaluation, str(evaluation), f"{prefix}evaluation")
    elif own_evaluation is not None and own_evaluation.exists():
        problems += _check_evaluation(own_evaluation, f"{name}/{EVALUATION_NAME}", where)
    else:
        own_evaluation = None
    if problems or source is None:
        return None, problems
    return Source(source.kind, source.path, source.name, source.files, own_evaluation, base), []


def _odd_folder(location: Path, name: str, where: str) -> Problem:
    versions = sorted(child.name for child in location.iterdir() if (child / SAVED_MODEL_NAME).is_file())
    if versions:
        return Problem(where, f"folder {name!r} holds versions, not a model", _KINDS, f"name one of them, such as {name}/{versions[-1]}")
    return Problem(where, f"folder {name!r} has neither {KERAS_NAME} nor {SAVED_MODEL_NAME}", _KINDS, "save the trained model there")


def _saved_model_files(folder: Path) -> tuple[tuple[str, Path], ...]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple((path.relative_to(folder).as_posix(), path) for path in found if path != folder / EVALUATION_NAME)


def _keras(file: Path, name: str, base: Path, where: str) -> tuple[Source | None, list[Problem]]:
    problem = _check_zip(file, name, where, ["config.json", "model.weights.h5"], "a file that Keras 3 saved with model.save()")
    return (None, [problem]) if problem else (Source(KERAS, file, name, ((file.name, file),), None, base), [])


def _check_evaluation(file: Path, shown: str, where: str) -> list[Problem]:
    if not file.is_file():
        return [Problem(where, f"there is no evaluation data {shown!r}", "an .npz file with inputs and labels y", "correct the path")]
    problem = _check_zip(file, shown, where, ["y.npy"], "an .npz file with the labels y, and x or the inputs by name")
    return [problem] if problem else []


def _check_zip(file: Path, shown: str, where: str, members: Sequence[str], expected: str) -> Problem | None:
    try:
        with zipfile.ZipFile(file) as archive:
            missing = [member for member in members if member not in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        return Problem(where, f"{shown!r} cannot be read ({error})", expected, "save or copy it again")
    return Problem(where, f"{shown!r} lacks {', '.join(missing)}", expected, "save it again") if missing else None


def keras_content(file: Path) -> list[tuple[str, FileRange]]:
    """The parts of a .keras file that make the model: weights, configuration and assets, but not metadata.json, which has
    the time it was saved at. The ranges are the bytes as they are stored. Raises OSError, zipfile.BadZipFile."""
    parts = []
    with zipfile.ZipFile(file) as archive, file.open("rb") as stream:
        for member in sorted(archive.infolist(), key=lambda item: item.filename):
            if member.filename == "metadata.json" or member.is_dir():
                continue
            # The local header's own name and extra field need not be as long as the central directory's.
            stream.seek(member.header_offset + 26)
            lengths = stream.read(4)
            start = member.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            parts.append((f"{member.filename}:{member.compress_type}", FileRange(file, start, member.compress_size)))
    return parts
