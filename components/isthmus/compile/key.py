"""The cache key of a compile: a hash over everything that its result depends on, and over nothing else.

The source's content (not where it lies, nor when it was saved), the evaluation data, the recipe's canonical text, the tools'
versions, the machine's kind, and the part of this package's own code that computes it. Only where a recipe that may be tried needs
it: the training function with all modules and data of its folder, the packages that these name, and calibration data. Only where it
is `auto` that chooses: min_accuracy and the deadline; only where it chooses by times: how they are measured.
"""

import ast
import functools
import hashlib
import json
import platform
import sys
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import isthmus_agent
from isthmus.compile.recipes import FASTEST, candidates, parse
from isthmus.compile.request import CompileRequest
from isthmus.compile.sources.source import FUNCTION, KERAS, SAVED_MODEL, TFLITE, Source, keras_content
from isthmus.errors import Problem, SourceError
from isthmus.release.hashing import FileRange, tree_hashes

# What turns a source into bytes. The first of several distributions that is installed counts.
_TOOLS = {
    "tensorflow": ("tensorflow-cpu", "tensorflow"),
    "keras": ("keras",),
    "numpy": ("numpy",),
    "ai-edge-litert": ("ai-edge-litert",),
    "litert-quantizer": ("litert-quantizer",),
    "flatbuffers": ("flatbuffers",),
    "protobuf": ("protobuf",),
}
# What computes a release's bytes and its accuracy, in patterns below this package. Not in it: who runs that (`workers`, `run`), who
# asks for it and reads the answer (`request`, `gate`, `report`), this module, whose content is in the key itself, and what measures
# times. A test goes through all that a job imports, and has the reason for each module that is left out.
OWN_CODE = (
    "compile/build/**/*.py",
    "compile/metrics.py",
    "compile/numerics.py",
    "compile/quantise/**/*.py",
    "compile/recipes.py",
    "compile/shrink/**/*.py",
    "compile/sources/**/*.py",
    "offload/measuring.py",
    "offload/reliability.py",
    "offload/scores.py",
    "offload/temperature.py",
    "release/confidences.py",
    "release/deflate.py",
    "release/manifest.py",
    "tflite/schema.py",
    "tflite/verify.py",
)
TIMING_CODE = ("compile/build/timing.py",)
_PACKAGE = Path(__file__).parents[1]
_AGENT = Path(isthmus_agent.__file__).parent


@functools.cache
def tool_versions() -> tuple[tuple[str, str], ...]:
    """Names and versions of the tools and of Python (major.minor), sorted; "absent" for what is not installed."""
    versions = [("python", f"{sys.version_info.major}.{sys.version_info.minor}")]
    for tool, distributions in _TOOLS.items():
        versions.append((tool, next((found for name in distributions if (found := _version(name))), "absent")))
    return tuple(sorted(versions))


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def own_files(patterns: Iterable[str] = OWN_CODE, but: Iterable[str] = TIMING_CODE) -> list[str]:
    """The names of our modules that patterns cover, but some, sorted: relative to the package, those of the agent's with its name first."""
    found = {path.relative_to(root).as_posix() for pattern in patterns if (root := _root(pattern)) for path in root.glob(pattern)}
    return sorted(found - set(but))


def _root(name: str) -> Path:
    """Where a pattern, or a name of `own_files`, begins."""
    return _AGENT.parent if name.startswith(f"{_AGENT.name}/") else _PACKAGE


@functools.cache
def code_hash(patterns: tuple[str, ...] = OWN_CODE, but: tuple[str, ...] = TIMING_CODE) -> str:
    """A hash over modules of ours, by name and content, in hex."""
    digest = hashlib.sha256()
    for name in own_files(patterns, but):
        digest.update(name.encode() + b"\0" + (_root(name) / name).read_bytes() + b"\0")
    return digest.hexdigest()


def resolve(request: CompileRequest) -> Source:
    """The request's source. Raises SourceError with all that is wrong with it."""
    source, problems = request.find(request.model)
    if source is None:
        raise SourceError(problems)
    return source


def compile_key(request: CompileRequest, source: Source) -> str:
    """The key, as hex. Raises SourceError where the recipe is wrong or a file of the source cannot be read."""
    recipe, problems = parse(request.recipe, f"{request.model}.recipe")
    if recipe is None:
        raise SourceError(problems)
    tried = candidates(
        recipe,
        is_keras=source.kind in (KERAS, FUNCTION),
        has_training=source.training is not None,
        has_calibration=source.calibration is not None,
    )
    training = source.training_files if any(one.needs_training for one in tried) else ()
    try:
        parts = keras_content(source.path) if source.kind == KERAS else [(n, FileRange.whole(p)) for n, p in source.files]
        if source.evaluation is not None:
            parts.append(("evaluation", FileRange.whole(source.evaluation)))
        parts += [(f"custom:{name}", FileRange.whole(path)) for name, path in source.custom_files]
        parts += [(f"training:{name}", FileRange.whole(path)) for name, path in training]
        if source.calibration is not None and any(one.needs_calibration for one in tried):
            parts.append(("calibration", FileRange.whole(source.calibration)))
        packages = _named_packages(path for _, path in training)
        hashes = tree_hashes([part for _, part in parts])
    except (OSError, zipfile.BadZipFile) as error:
        raise SourceError([Problem(f"{request.model}.model", f"{source.name!r} cannot be read ({error})")]) from error
    content = {
        "source": [source.kind, sorted(zip((name for name, _ in parts), hashes, strict=True))],
        "function": request.source.partition(":")[2] if source.kind == FUNCTION else "",
        "signature": source.signature if source.kind in (SAVED_MODEL, TFLITE) else None,
        # What was refused must not come out of the cache because somebody else allowed it.
        "unsafe": source.allow_unsafe and source.kind in (KERAS, SAVED_MODEL),
        "model": request.model,
        "recipe": recipe.text,
        "gate": [request.min_accuracy, request.training_deadline_seconds if training else 0] if recipe.is_auto else [],
        "version": request.version,
        "packages": packages,
        "tools": tool_versions(),
        "machine": platform.machine(),
        "code": [code_hash(), *([code_hash(TIMING_CODE, ())] if recipe.is_auto and recipe.objective == FASTEST else [])],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _named_packages(files: Iterable[Path]) -> list[tuple[str, str]]:
    """Names and versions of the installed packages that modules import, or name in a text as find_spec and `python -m` want it:
    training data comes out of one, as a rule."""
    named: set[str] = set()
    for path in files:
        if path.suffix != ".py":
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue  # the training will say so, with the line
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                named.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                named.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                named.add(node.value)
    if not named:
        return []
    known = metadata.packages_distributions()
    return sorted((name, metadata.version(name)) for name in {name for module in named for name in known.get(module, ())})
