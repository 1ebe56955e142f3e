"""`python3 -m toolchain.prepare WHAT`, or `stack NAME`, run in the project folder; see the table below for WHAT."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 said before anything that older Pythons cannot even read
    sys.stderr.write("isthmus: error: Python 3.11 or newer is needed; name one, as in `make up PYTHON=python3.12`\n")
    sys.exit(1)

from toolchain.prepare import build, engine, environment, go, plugins, prune, stack
from toolchain.prepare.layout import Layout, load, make_cache
from toolchain.prepare.steps import PrepareError, beside, exclusive, fail, phase


def _environment(layout: Layout) -> None:
    environment.prepare(layout)


def _developer(layout: Layout) -> None:
    environment.prepare(layout, developer=True)


def _with_engine(layout: Layout, *, developer: bool = False, modules: Sequence[go.Commands] = ()) -> str:
    """The environment, and beside it the engine with the plugins that the program asks for; returns the engine's path.

    The environment waits for the network first, and the engine's build for the processor.

    modules: of these commands, which are built later, are fetched meanwhile, if the engine has to be built at all.
    """
    begun = environment.begin(layout)  # a build takes the compiler that its uv installs

    def packages() -> None:
        with phase("Python packages"):
            environment.finish(layout, begun, developer=developer)

    def fetch() -> None:
        if engine.is_built(layout):
            return
        for commands in modules:
            with phase(f"Go modules of {commands.what}"), suppress(PrepareError):  # whoever builds them will say what is wrong
                go.fetch(layout, commands)

    def ready_engine() -> str:
        with phase("engine"):
            record = engine.prepare(layout)
            if record.source == "build":  # any other one fetches the official plugins itself
                plugins.prepare(layout, record.engine)
        return record.engine

    return beside(lambda: beside(packages, fetch, go.stop), ready_engine, go.stop)[1]


def _engine(layout: Layout) -> None:
    _with_engine(layout)


def _test(layout: Layout) -> None:
    _with_engine(layout, developer=True, modules=[build.cluster(layout)])


def _stack(layout: Layout, name: str = stack.STACK) -> None:
    stack.check_name(layout, name)
    stack.prepare(layout, _with_engine(layout), name)


def _prune(layout: Layout) -> None:
    prune.prune(layout)


def _lock(layout: Layout) -> None:
    _environment(layout)
    environment.lock(layout)


ACTIONS: dict[str, Callable[..., None]] = {
    "environment": _environment,  # .venv and what runs in it
    "developer": _developer,  # the same, with the linters and the test runner
    "engine": _engine,  # the engine
    "test": _test,  # what the tests need
    "stack": _stack,  # all that `pulumi up` needs of a stack, which may be named
    "prune": _prune,  # room in the cache
    "lock": _lock,  # new lock files
}


def main(arguments: list[str]) -> int:
    """Prepares what the first argument names; returns the exit status."""
    what, *of = arguments or [""]
    if what not in ACTIONS or len(of) > (ACTIONS[what] is _stack):
        return fail(PrepareError(f"expected one of {', '.join(ACTIONS)}"))
    try:
        layout = load(Path.cwd().resolve())
        make_cache(layout)
        with exclusive(layout.toolchain / "lock", "this project"):
            ACTIONS[what](layout, *of)
    except (PrepareError, OSError) as error:
        return fail(error)
    except KeyboardInterrupt:
        return fail(PrepareError("interrupted; the same command goes on from here"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
