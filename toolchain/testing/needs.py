"""What a test needs that is built for it: found out from the code of the test and of its fixtures, before anything runs.

A function needs what the functions that it names need; those of the toolchain that ask for built programs are in the table below. What
is found is a guess on the safe side of nothing: a test that is not recognised builds what it needs when it runs, as `pytest` by hand does.
"""

import functools
import os
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
TESTS = str(Path(__file__).resolve().parents[2] / "tests") + os.sep


def needs_of(item: Any) -> set[str]:
    """What a pytest item needs."""
    fixtures = (definition.func for definitions in item._fixtureinfo.name2fixturedefs.values() for definition in definitions)
    return set().union(*map(needs, (getattr(item, "function", None), *fixtures)))


@functools.cache
def needs(function: object) -> frozenset[str]:
    """What a function needs, itself or by what it names."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting = [function]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, FunctionType) and (need := SOURCES.get((value.__module__, value.__qualname__))):
            found.add(need)
        else:
            waiting.extend(_below(value))
    return frozenset(found)


def _below(value: object) -> Iterable[object]:
    """What is named in a function, or makes up a class, of the tests."""
    if isinstance(value, FunctionType):
        return _named(value) if value.__code__.co_filename.startswith(TESTS) else ()
    if isinstance(value, type):
        functions = [member for member in vars(value).values() if isinstance(member, FunctionType)]
        return vars(value).values() if any(function.__code__.co_filename.startswith(TESTS) for function in functions) else ()
    if isinstance(value, (staticmethod, classmethod)):
        return (value.__func__,)
    return (value.fget,) if isinstance(value, property) else ()


@functools.cache
def _named(function: FunctionType) -> tuple[object, ...]:
    """The functions, classes and modules' members of these kinds that a function names."""
    names = set(_names(function.__code__))
    values = [function.__globals__[name] for name in names & function.__globals__.keys()]
    for module in [value for value in values if isinstance(value, ModuleType)]:
        values += [getattr(module, name) for name in names & vars(module).keys()]
    values += [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    return tuple(value for value in values if isinstance(value, (FunctionType, type)))


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
