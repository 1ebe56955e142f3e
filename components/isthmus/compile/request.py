"""What is to be compiled, and what can be seen to be wrong with it before anything runs."""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.compile.recipes import AUTO, SERVING_ONLY, Recipe, parse
from isthmus.compile.sources.source import FUNCTION, KERAS, TFLITE, Source, find_source
from isthmus.digest import is_digest, names_release
from isthmus.errors import Problem
from isthmus.limits import TRAINING_DEADLINE_SECONDS, VERSION
from isthmus.partition.wanted import Wanted
from isthmus_agent.formats.digests import EXPECTED

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class CompileRequest:
    """One compile.

    model: the name that the model is served under.
    source: a model folder (model.keras, evaluation.npz), a `.keras` file, a SavedModel folder, a Python
        `module:function` that returns a Keras model, or `sha256:…`: a release that is in the cache, never compiled here.
    recipe: in the language of `recipes`, as one text.
    version: the number of the folder that the serving variant lies in.
    evaluation: an `.npz` file of held-out examples, used instead of the model folder's own.
    base_directory: what a relative source and evaluation are relative to, and where modules are looked for.
    min_accuracy: what recipe `auto` has to keep, in [0, 1]; None: at most one point less than the source.
    training_deadline_seconds: the longest that the training of one recipe may take.
    allow_unsafe: whether a `.keras` file may carry Python code (Lambda layers), which then runs.
    signature: of a SavedModel or `.tflite` source with several; None: its usual one.
    custom_objects: a module of the project that registers the classes that a `.keras` file needs.
    partition: how the network is to be split besides; None: it is not.
    """

    model: str
    source: str
    recipe: str
    version: int = VERSION.default
    evaluation: Path | None = None
    base_directory: Path = field(default_factory=Path.cwd)
    min_accuracy: float | None = None
    training_deadline_seconds: int = TRAINING_DEADLINE_SECONDS.default
    allow_unsafe: bool = False
    signature: str | None = None
    custom_objects: str | None = None
    partition: Wanted | None = None

    @property
    def names_digest(self) -> bool:
        """Whether the source is a release by digest."""
        return names_release(self.source)

    def find(self, path: str) -> tuple[Source | None, list[Problem]]:
        """The source, and all that is wrong with it; None only where there are problems. path: of the component, may be empty."""
        return find_source(
            self.source,
            self.evaluation,
            self.base_directory,
            path,
            signature=self.signature,
            custom_objects=self.custom_objects,
            allow_unsafe=self.allow_unsafe,
        )


def check_request(request: CompileRequest, path: str) -> list[Problem]:
    """All that is wrong with a request; as `find_checked`, for those who need no more."""
    return find_checked(request, path)[1]


def find_checked(request: CompileRequest, path: str) -> tuple[Source | None, list[Problem]]:
    """The source of a request, and all that is wrong with both and can be seen from files, without running or importing anything.

    None for a release that is named by its digest, and where the source has problems.

    Args:
        path: property path of the component that the arguments came from, such as `digits`; may be empty.
    """
    prefix = f"{path}." if path else ""
    problems = []
    if not _MODEL_NAME.fullmatch(request.model):
        problems.append(
            Problem(path, f"{request.model!r} cannot be a model's name", "letters, digits, '_', '-', '.', the first a letter or digit")
        )
    if request.names_digest:
        if not is_digest(request.source):
            problems.append(Problem(f"{prefix}model", f"{request.source!r} is not a digest", EXPECTED))
        return None, problems
    recipe, wrong = parse(request.recipe, f"{prefix}recipe")
    problems += wrong
    if isinstance(request.version, bool) or not isinstance(request.version, int) or request.version < 1:
        problems.append(Problem(f"{prefix}version", f"{request.version!r} is not a version", "a whole number from 1 on"))
    if request.min_accuracy is not None and not 0 <= request.min_accuracy <= 1:
        problems.append(Problem(f"{prefix}min_accuracy", f"{request.min_accuracy!r} is not a share", "a number from 0 to 1"))
    if not TRAINING_DEADLINE_SECONDS.allows(request.training_deadline_seconds):
        problems.append(
            Problem(f"{prefix}training_deadline_seconds", f"found {request.training_deadline_seconds}", TRAINING_DEADLINE_SECONDS.range)
        )
    source, wrong = request.find(path)
    problems += wrong
    if recipe is not None and source is not None:
        problems += _unmet_needs(recipe, source, prefix)
    return source, problems


def _unmet_needs(recipe: Recipe, source: Source, prefix: str) -> list[Problem]:
    """What the recipe needs and the source does not have."""
    where, name = f"{prefix}recipe", repr(source.name)
    changed = ", ".join(step.text for step in recipe.structure)
    problems = []
    if recipe.is_serving_only and source.kind == TFLITE:
        return [nothing_to_serve(name, where)]
    if recipe.structure and source.kind not in (KERAS, FUNCTION):
        what = f"{name} is no Keras model, and {changed} needs its layers"
        return [Problem(where, what, "a recipe without structure steps", f"name the Keras model, or write {recipe.storage}")]
    if recipe.needs_training and source.training is None:
        trained = ", ".join(step.text for step in recipe.structure if step.needs_training)
        expected = "a model.py beside model.keras that defines fit(model, epochs, callbacks)"
        problems.append(Problem(where, f"{trained} trains, and {name} has no training function", expected, "add it, or leave the step out"))
    elif source.training is not None:
        problems += [
            Problem(where, f"{source.training.name} has no function {step.function!r}", "one that builds the student", "correct the name")
            for step in recipe.structure
            if step.function and step.function not in _names(source.training)
        ]
    if recipe.needs_calibration and source.calibration is None:
        what = f"{recipe.storage} measures the activations' ranges on calibration data, and {name} has none"
        problems.append(Problem(where, what, "a calibration.npz in the model folder: inputs as in evaluation.npz", "add it, or write int8"))
    if recipe.is_auto and source.evaluation is None:
        what = f"{AUTO} chooses by accuracy, and {name} has no evaluation data"
        problems.append(
            Problem(where, what, "an evaluation.npz in the model folder, or the evaluation argument", "add it, or name a recipe")
        )
    return problems


def nothing_to_serve(shown: str, where: str) -> Problem:
    """What to say where a file for devices shall become a release for servers alone."""
    what = f"{shown} is a file for devices (.tflite), and {SERVING_ONLY} leaves the variant for devices out"
    fix = "name the model that the file was converted from, or another recipe, such as float32"
    return Problem(where, what, "a Keras model or a SavedModel", fix)


def _names(module: Path) -> set[str]:
    """What a module may define: a name that is nowhere in it is not defined there."""
    nodes = list(ast.walk(ast.parse(module.read_bytes())))
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return defined | assigned | {alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
