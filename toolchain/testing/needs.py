"""What a test needs that is built for it: found out from the code of the test and of its fixtures, before anything runs.

A function needs what the functions that it names need; those of the toolchain that ask for built programs are in the table below. What
is found is a guess on the safe side of nothing: a test that is not recognised builds what it needs when it runs, as `pytest` by hand does.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

CLUSTER, IMAGES, DOCKER = "cluster", "images", "docker"
# Where a function is defined, its name → what it needs.
SOURCES = {
    ("toolchain.cluster.cluster", "up"): CLUSTER,
    ("toolchain.cluster.control_plane", "control_plane"): CLUSTER,
    ("toolchain.cluster.build", "binaries"): CLUSTER,
    ("toolchain.images.builder", "build"): IMAGES,
    ("toolchain.docker_engine.hosts", "start"): DOCKER,
    ("toolchain.docker_engine.programs", "programs"): DOCKER,
}
TESTS = Path(__file__).resolve().parents[2] / "tests"


def needs_of(item: Any) -> set[str]:
    """What a pytest item needs."""
    fixtures = (definition.func for definitions in item._fixtureinfo.name2fixturedefs.values() for definition in definitions)
    return needs([getattr(item, "function", None), *fixtures])


def needs(functions: Iterable[object]) -> set[str]:
    """What any of these functions needs, itself or by what it calls."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting = list(functions)
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, FunctionType):
            if need := SOURCES.get((value.__module__, value.__qualname__)):
                found.add(need)
            elif TESTS in Path(value.__code__.co_filename).parents:
                waiting.extend(_named(value))
        elif isinstance(value, type) and _is_of_tests(value):
            waiting.extend(vars(value).values())
        elif isinstance(value, (staticmethod, classmethod, property)):
            waiting.append(getattr(value, "__func__", None) or getattr(value, "fget", None))
    return found


def _is_of_tests(value: type) -> bool:
    functions = (member for member in vars(value).values() if isinstance(member, FunctionType))
    return any(TESTS in Path(function.__code__.co_filename).parents for function in functions)


def _named(function: FunctionType) -> Iterator[object]:
    """The values of the global names in a function, and of what it takes from modules."""
    names = set(_names(function.__code__))
    for name in names & set(function.__globals__):
        value = function.__globals__[name]
        yield value
        if isinstance(value, ModuleType):
            yield from (getattr(value, attribute) for attribute in names if isinstance(vars(value).get(attribute), (FunctionType, type)))
    yield from (cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell))


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that was not given a value yet
        return False


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
