"""Finding the user's own modules (`module:function`, custom objects, training), and the files that they are made of, without
importing anything.

The files are those whose change may change the model: the module, what it imports from the project, and everything
that lies in its package (a function that loads weights has them beside it, as a rule).
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

from isthmus.errors import Problem

_EXPECTED = "module:function, the function without arguments, returning a Keras model"
_EXPECTED_OBJECTS = "a module of the project that registers them with keras.saving.register_keras_serializable"
TRAINING_FUNCTION = "fit"
Files = tuple[tuple[str, Path], ...]


def find_module_function(name: str, base: Path, where: str) -> tuple[Files, list[Problem]]:
    """The files of a `module:function` (the module's own first) by module or package-relative name, and what is wrong.

    Args:
        base: where modules are looked for first; then on this interpreter's path.
        where: property path for the problems.
    """
    module, function = name.split(":")
    return _find(module, base, where, _EXPECTED, function)


def find_custom_objects(module: str, base: Path, where: str) -> tuple[Files, list[Problem]]:
    """The files of a module that registers custom objects when it is imported (its own first), and what is wrong."""
    return _find(module, base, where, _EXPECTED_OBJECTS)


def _find(module: str, base: Path, where: str, expected: str, function: str = "") -> tuple[Files, list[Problem]]:
    file = _find_module(module, [str(base), *sys.path])
    if file is None:
        return (), [Problem(where, f"there is no module {module!r} in {base}", expected, "correct the name")]
    names, problem = _defined(file, base, where, expected)
    if problem:
        return (), [problem]
    if function and function not in names and not names & {"*", "__getattr__"}:
        return (), [Problem(where, f"{_shown(file, base)} has no function {function!r}", expected, "correct the name")]

    found = {file: module}
    package = _package_folder(file, module)
    if package is not None:
        for path in sorted(package.rglob("*")):
            parts = path.relative_to(package).parts
            if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
                found.setdefault(path, f"{package.name}/{path.relative_to(package).as_posix()}")
    _follow_imports(found, file, module, [str(base)])
    rest = sorted((shown, path) for path, shown in found.items() if path != file)
    return ((module, file), *rest), []


def find_training(file: Path, base: Path, where: str, beside: Sequence[Path] = ()) -> tuple[Files, list[Problem]]:
    """The files that training depends on (the module's own first): none where the module does not define `fit`.

    Args:
        file: the module, such as models/digits/model.py; it need not exist.
        beside: files of its folder that it may read or run: its data, and programs that it starts without importing them.
    """
    if not file.is_file():
        return (), []
    names, problem = _defined(file, base, where, f"a module that defines {TRAINING_FUNCTION}(model, epochs, callbacks)")
    if problem or TRAINING_FUNCTION not in names:
        return (), [problem] if problem else []
    found = {file: file.stem}
    for path in (file, *(path for path in sorted(beside) if path.suffix == ".py")):
        _follow_imports(found, path, path.stem, [str(file.parent), str(base)])
    for path in beside:
        found.setdefault(path, path.name)
    return ((file.stem, file), *sorted((shown, path) for path, shown in found.items() if path != file)), []


def _defined(file: Path, base: Path, where: str, expected: str) -> tuple[set[str], Problem | None]:
    try:
        return set(_names(ast.parse(file.read_bytes(), str(file)).body)), None
    except SyntaxError as error:
        return set(), Problem(where, f"{_shown(file, base)}:{error.lineno}: SyntaxError: {error.msg}", expected)
    except (ValueError, RecursionError) as error:  # a null byte, say
        return set(), Problem(where, f"{_shown(file, base)} cannot be read: {error}", expected)


def _shown(file: Path, base: Path) -> str:
    return file.relative_to(base).as_posix() if file.is_relative_to(base) else str(file)


def _find_module(name: str, search: list[str]) -> Path | None:
    """Like importlib, but a parent package's __init__ is not run to find its child."""
    spec = None
    for part in name.split("."):
        spec = PathFinder.find_spec(part, search)
        if spec is None:
            return None
        search = list(spec.submodule_search_locations or [])
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _package_folder(file: Path, module: str) -> Path | None:
    """The outermost folder of the module's package; the module's own folder where its parents are namespace packages."""
    if "." not in module and file.name != "__init__.py":
        return None
    folder = file.parent
    while (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """Names that a module's statements define at its top level, also inside of if and try."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).split(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
        else:
            for field in ("body", "orelse", "finalbody"):
                yield from _names(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from _names(handler.body)


def _follow_imports(found: dict[Path, str], file: Path, module: str, search: list[str]) -> None:
    """Adds the modules of the project (not of the environment) that the module imports, directly or not."""
    waiting, seen = [(file, module)], {file}
    while waiting:
        for imported in _imports(*waiting.pop()):
            path = _find_module(imported, search)
            if path is not None and path not in seen:
                seen.add(path)
                found.setdefault(path, imported)
                waiting.append((path, imported))


def _imports(file: Path, module: str) -> tuple[str, ...]:
    return _imported(file.read_bytes(), module if file.name == "__init__.py" else module.rpartition(".")[0])


@lru_cache(maxsize=256)
def _imported(content: bytes, package: str) -> tuple[str, ...]:
    """What a module of the package imports. A preview asks for it a dozen times: kept by content, which cannot be out of date."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return ()  # the compile will say so, with the line
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            parent = ".".join([*parents, *([node.module] if node.module else [])])
            if parent:
                found += [parent, *(f"{parent}.{alias.name}" for alias in node.names)]
    return tuple(dict.fromkeys(found))
