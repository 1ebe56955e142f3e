"""Finding `module:function`, and the files that it is made of, without importing anything.

The files are those whose change may change the model: the module, what it imports from the project, and everything
that lies in its package (a function that loads weights has them beside it, as a rule).
"""

import ast
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from isthmus.errors import Problem

_EXPECTED = "module:function, the function without arguments, returning a Keras model"


def find_module_function(name: str, base: Path, where: str) -> tuple[tuple[tuple[str, Path], ...], list[Problem]]:
    """The files of a `module:function` (the module's own first) by module or package-relative name, and what is wrong.

    Args:
        base: where modules are looked for first; then on this interpreter's path.
        where: property path for the problems.
    """
    module, function = name.split(":")
    file = _find_module(module, [str(base), *sys.path])
    if file is None:
        return (), [Problem(where, f"there is no module {module!r} in {base}", _EXPECTED, "correct the name")]
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except SyntaxError as error:
        return (), [Problem(where, f"{_shown(file, base)}:{error.lineno}: SyntaxError: {error.msg}", _EXPECTED)]
    names = set(_names(tree.body))
    if function not in names and not names & {"*", "__getattr__"}:
        return (), [Problem(where, f"{_shown(file, base)} has no function {function!r}", _EXPECTED, "correct the name")]

    found = {file: module}
    package = _package_folder(file, module)
    if package is not None:
        for path in sorted(package.rglob("*")):
            parts = path.relative_to(package).parts
            if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
                found.setdefault(path, f"{package.name}/{path.relative_to(package).as_posix()}")
    _follow_imports(found, file, module, base)
    rest = sorted((shown, path) for path, shown in found.items() if path != file)
    return ((module, file), *rest), []


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


def _follow_imports(found: dict[Path, str], file: Path, module: str, base: Path) -> None:
    """Adds the modules of the project (not of the environment) that the module imports, directly or not."""
    waiting, seen = [(file, module)], {file}
    while waiting:
        for imported in _imports(*waiting.pop()):
            path = _find_module(imported, [str(base)])
            if path is not None and path not in seen:
                seen.add(path)
                found.setdefault(path, imported)
                waiting.append((path, imported))


def _imports(file: Path, module: str) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:
        return  # the compile will say so, with the line
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            parent = ".".join([*parents, *([node.module] if node.module else [])])
            if parent:
                yield parent
                yield from (f"{parent}.{alias.name}" for alias in node.names)
