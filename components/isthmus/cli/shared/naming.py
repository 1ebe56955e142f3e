"""What is wrong with a compile, told by the options of a command that names a model."""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import replace

from isthmus.errors import InputError, Problem


@contextlib.contextmanager
def options_named(model: str, options: Collection[str]) -> Iterator[None]:
    """Problems come with the path of a component's argument; who typed a command knows options. options: arguments that are ones."""
    try:
        yield
    except InputError as error:
        raise type(error)([option_named(problem, model, options) for problem in error.problems]) from error


def option_named(problem: Problem, model: str, options: Collection[str]) -> Problem:
    """The problem, with the option in place of the argument."""
    argument = problem.path.removeprefix(model).removeprefix(".")
    option = "MODEL" if argument in ("", "model") else f"--{argument.replace('_', '-')}" if argument in options else argument
    return replace(problem, path=option)
