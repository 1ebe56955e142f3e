"""What is to be compiled, and what can be seen to be wrong with it before anything runs."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.compile.recipes import RECIPES
from isthmus.compile.source import find_source
from isthmus.errors import Problem

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class CompileRequest:
    """One compile.

    model: the name that the model is served under.
    source: a model folder (model.keras, evaluation.npz), a `.keras` file, a SavedModel folder, a Python
        `module:function` that returns a Keras model, or `sha256:…`: a release that is in the cache, never compiled here.
    recipe: a name of `RECIPES`.
    version: the number of the folder that the serving variant lies in.
    evaluation: an `.npz` file of held-out examples, used instead of the model folder's own.
    base_directory: what a relative source and evaluation are relative to, and where modules are looked for.
    """

    model: str
    source: str
    recipe: str
    version: int = 1
    evaluation: Path | None = None
    base_directory: Path = field(default_factory=Path.cwd)

    @property
    def names_digest(self) -> bool:
        """Whether the source is a release by digest."""
        return self.source.startswith("sha256:")


def check_request(request: CompileRequest, path: str) -> list[Problem]:
    """All that is wrong with a request and can be seen from its files, without running or importing anything.

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
        if not _DIGEST.fullmatch(request.source):
            problems.append(Problem(f"{prefix}model", f"{request.source!r} is not a digest", "sha256: and 64 hexadecimal digits"))
        return problems
    if request.recipe not in RECIPES:
        problems.append(
            Problem(f"{prefix}recipe", f"there is no recipe {request.recipe!r}", "one of " + ", ".join(RECIPES), "name one of them")
        )
    if isinstance(request.version, bool) or not isinstance(request.version, int) or request.version < 1:
        problems.append(Problem(f"{prefix}version", f"{request.version!r} is not a version", "a whole number from 1 on"))
    problems += find_source(request.source, request.evaluation, request.base_directory, path)[1]
    return problems
