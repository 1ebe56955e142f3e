"""Finding a model source on disk, and telling what is wrong with it without TensorFlow.

Nothing here runs or imports the user's code.
"""

import mmap
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from isthmus.compile.sources.keras_file import check_keras_file, check_zip
from isthmus.compile.sources.python_module import Files, find_custom_objects, find_module_function, find_training
from isthmus.errors import Problem
from isthmus.release.hashing import FileRange
from isthmus.tflite.verify import DamagedFileError, verify

KERAS = "keras"
SAVED_MODEL = "saved_model"
FUNCTION = "function"
TFLITE = "tflite"
EVALUATION_NAME = "evaluation.npz"
CALIBRATION_NAME = "calibration.npz"
KERAS_NAME = "model.keras"
SAVED_MODEL_NAME = "saved_model.pb"
TFLITE_NAME = "model.tflite"
TRAINING_NAME = "model.py"
SERVING_SIGNATURE = "serving_default"
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_KINDS = f"a folder with {KERAS_NAME}, {SAVED_MODEL_NAME} or {TFLITE_NAME}, a .keras or .tflite file, or module:function"
_UNSUPPORTED = {
    ".h5": "load it with Keras and save it again as .keras",
    ".hdf5": "load it with Keras and save it again as .keras",
    ".onnx": "convert it to a SavedModel first",
    ".pt": "convert it to a SavedModel first",
    ".pth": "convert it to a SavedModel first",
}


@dataclass(frozen=True)
class Source:
    """A source that was found.

    kind: KERAS, SAVED_MODEL, FUNCTION or TFLITE.
    path: the .keras or .tflite file, the SavedModel's folder, or the file of the module.
    name: as the user wrote it.
    files: what the compiled model depends on, by a name that does not depend on where the source lies.
    signature: the one to compile, of a SavedModel or .tflite file; None for serving_default.
    custom_objects: a module to import before the model is loaded; custom_files: what it is made of.
    allow_unsafe: whether code that the model carries may run.
    training: the module that defines `fit`, beside model.keras, or the module of the function itself; training_files: what
        training depends on; a model folder's are all its modules and data, imported or not, and what they import.
    calibration: calibration.npz of the model's folder, inputs that show the range of activations.
    """

    kind: str
    path: Path
    name: str
    files: Files
    evaluation: Path | None
    base_directory: Path
    signature: str | None = None
    custom_objects: str | None = None
    custom_files: Files = ()
    allow_unsafe: bool = False
    training: Path | None = None
    training_files: Files = ()
    calibration: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """For a job file; `from_json` reads it."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()} | {
            name: [(shown, str(path)) for shown, path in getattr(self, name)] for name in _FILES
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Source":
        paths = {name: Path(raw[name]) if raw[name] else None for name in _PATHS}
        files = {name: tuple((shown, Path(path)) for shown, path in raw[name]) for name in _FILES}
        return cls(**{**raw, **paths, **files})


_PATHS = ("path", "evaluation", "base_directory", "training", "calibration")
_FILES = ("files", "custom_files", "training_files")


def find_source(
    name: str,
    evaluation: Path | None,
    base_directory: Path,
    path: str,
    *,
    signature: str | None = None,
    custom_objects: str | None = None,
    allow_unsafe: bool = False,
) -> tuple[Source | None, list[Problem]]:
    """The source, and all that is wrong with it; the source is None only where there are problems.

    Args:
        path: property path for the problems.
        signature, custom_objects, allow_unsafe: as in `Source`.
    """
    prefix = f"{path}." if path else ""
    base = base_directory.absolute()
    blank = Source("", base / name, name, (), None, base, signature, custom_objects, (), allow_unsafe)
    source, problems = _find(blank, f"{prefix}model") if name else (None, [Problem(f"{prefix}model", "no model is named", _KINDS)])
    if custom_objects is not None:
        custom_files, found = _find_custom_objects(custom_objects, base, f"{prefix}custom_objects")
        source, problems = source and replace(source, custom_files=custom_files), problems + found
    if source is not None and signature not in (None, SERVING_SIGNATURE) and source.kind in (KERAS, FUNCTION):
        what = f"{name!r} is a Keras model: it has one signature, {SERVING_SIGNATURE}"
        problems.append(Problem(f"{prefix}signature", what, fix="leave signature out"))

    # The data beside the model is looked at even where the model is at fault: all problems are told at once.
    folder = blank.path if (source or blank).kind != FUNCTION and blank.path.is_dir() else None
    held_out, own = folder and folder / EVALUATION_NAME, folder and folder / CALIBRATION_NAME
    if evaluation is not None:
        held_out = base / evaluation
        problems = problems + _check_arrays(held_out, str(evaluation), f"{prefix}evaluation", ["y.npy"])
    elif held_out is not None and held_out.exists():
        problems = problems + _check_arrays(held_out, f"{name}/{EVALUATION_NAME}", f"{prefix}model", ["y.npy"])
    else:
        held_out = None
    if own is not None and own.exists():
        problems = problems + _check_arrays(own, f"{name}/{CALIBRATION_NAME}", f"{prefix}model", [])
    else:
        own = None
    if source is None or problems:
        return None, problems
    return replace(source, evaluation=held_out, calibration=own), []


Found = tuple[Source | None, list[Problem]]


def _find(source: Source, where: str) -> Found:
    location, name = source.path, source.name
    if not location.exists():
        if _FUNCTION.fullmatch(name):
            return _function(source, where)
        return None, [Problem(where, f"there is no model {name!r} in {source.base_directory}", _KINDS, "correct the path")]
    if location.is_dir():
        for member, find in _MEMBERS.items():
            if (location / member).is_file():
                return find(replace(source, path=location / member), where)
        return None, [_odd_folder(location, name, where)]
    if location.suffix in _SUFFIXES:
        return _SUFFIXES[location.suffix](source, where)
    fix = _UNSUPPORTED.get(location.suffix.lower(), "")
    return None, [Problem(where, f"{name!r} is not a kind of model that can be compiled", _KINDS, fix)]


def _function(source: Source, where: str) -> Found:
    files, problems = find_module_function(source.name, source.base_directory, where)
    if not files:
        return None, problems
    training, _ = find_training(files[0][1], source.base_directory, where, [path for _, path in files[1:]])
    return replace(
        source, kind=FUNCTION, path=files[0][1], files=files, training=files[0][1] if training else None, training_files=training
    ), problems


def _saved_model(source: Source, where: str) -> Found:
    folder = source.path.parent
    found = sorted(
        path for path in folder.rglob("*") if path.is_file() and path not in (folder / EVALUATION_NAME, folder / CALIBRATION_NAME)
    )
    return replace(source, kind=SAVED_MODEL, path=folder, files=tuple((path.relative_to(folder).as_posix(), path) for path in found)), []


def _keras(source: Source, where: str) -> Found:
    file = source.path
    problems = check_keras_file(file, source.name, where, allow_unsafe=source.allow_unsafe)
    training, found = find_training(file.parent / TRAINING_NAME, source.base_directory, where, _beside(file))
    return replace(
        source, kind=KERAS, files=((file.name, file),), training=training[0][1] if training else None, training_files=training
    ), problems + found


def _beside(file: Path) -> list[Path]:
    """Files of a model's folder that its training may read or run: not a model, nor what only measures or describes it."""
    unread = {file.name, EVALUATION_NAME, CALIBRATION_NAME}
    return [path for path in file.parent.iterdir() if path.is_file() and path.name not in unread and path.suffix not in (".md", ".keras")]


def _tflite(source: Source, where: str) -> Found:
    problems = check_tflite(source.path, source.name, where, source.signature)
    return replace(source, kind=TFLITE, files=((source.path.name, source.path),)), problems


_MEMBERS: dict[str, Callable[[Source, str], Found]] = {SAVED_MODEL_NAME: _saved_model, KERAS_NAME: _keras, TFLITE_NAME: _tflite}
_SUFFIXES: dict[str, Callable[[Source, str], Found]] = {".keras": _keras, ".tflite": _tflite}


def check_tflite(file: Path, shown: str, where: str, signature: str | None) -> list[Problem]:
    """What is wrong with a .tflite file: its structure is followed to the end, and the interpreter is not asked."""
    expected = "a whole .tflite file"
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
            contents = verify(data)
    except DamagedFileError as error:
        return [Problem(where, f"{shown!r} is not a sound .tflite file: {error}", expected, "convert or copy it again")]
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        return [Problem(where, f"{shown!r} cannot be read ({error})", expected, "convert or copy it again")]
    return signature_problems(signature, contents.signatures, shown, where, needed=bool(contents.signatures))


def no_serving_variant(shown: str, where: str) -> Problem:
    """What to say where servers are asked to serve a file for devices, or a release of one."""
    fix = "name the model that the file was converted from, or bring the file to devices with EdgeFleetRollout"
    return Problem(
        where, f"{shown} has an edge variant (.tflite) alone, and servers need a SavedModel", "a Keras model or a SavedModel", fix
    )


def signature_problems(signature: str | None, known: tuple[str, ...], shown: str, where: str, *, needed: bool = True) -> list[Problem]:
    """What is wrong with the choice of a signature. needed: whether there has to be one at all."""
    wanted = signature or SERVING_SIGNATURE
    if wanted in known or (signature is None and (len(known) == 1 or not needed)):
        return []
    found = ", ".join(sorted(known)) or "none"
    fix = f"set signature to one of these: {found}" if known else "export it with model.export(), or tf.saved_model.save(…, signatures=…)"
    place = where if signature is None else where.removesuffix("model") + "signature"
    return [Problem(place, f"{shown!r} has no signature {wanted} (it has: {found})", "the name of a signature", fix)]


def _find_custom_objects(module: str, base: Path, where: str) -> tuple[Files, list[Problem]]:
    if not _MODULE.fullmatch(module):
        return (), [Problem(where, f"{module!r} is not a module's name", "such as models.layers", "correct the name")]
    return find_custom_objects(module, base, where)


def _odd_folder(location: Path, name: str, where: str) -> Problem:
    versions = sorted(child.name for child in location.iterdir() if (child / SAVED_MODEL_NAME).is_file())
    if versions:
        return Problem(where, f"folder {name!r} holds versions, not a model", _KINDS, f"name one of them, such as {name}/{versions[-1]}")
    what = f"folder {name!r} has neither {KERAS_NAME} nor {SAVED_MODEL_NAME} nor {TFLITE_NAME}"
    return Problem(where, what, _KINDS, "save the trained model there")


def _check_arrays(file: Path, shown: str, where: str, members: list[str]) -> list[Problem]:
    if not file.is_file():
        return [Problem(where, f"there is no evaluation data {shown!r}", "an .npz file with inputs and labels y", "correct the path")]
    problem = check_zip(file, shown, where, members, "an .npz file with the inputs by name, or x, and for evaluation the labels y")
    return [problem] if problem else []


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
