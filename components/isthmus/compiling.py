"""The bridge from a component's arguments to its release: compile while the program goes on declaring resources."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import pulumi
from pulumi import Output

from isthmus.arguments.source import SourceSettings
from isthmus.compile import check_accuracy, compile_release
from isthmus.compile.recipes import AUTO
from isthmus.compile.request import CompileRequest, find_checked
from isthmus.compile.sources.source import Source
from isthmus.errors import GateError, InputError, IsthmusError, Problem
from isthmus.release.cache import ReleaseCache, default_cache_directory
from isthmus.release.manifest import Release
from isthmus.words import kilobytes, percent
from isthmus_agent.formats.digests import PREFIX

# A step that lasts longer says how long it has been at it.
PROGRESS_INTERVAL_SECONDS = 2.0


# Two components of one program that ask for the same release share one task; the first one's row shows its progress.
_running: dict[asyncio.AbstractEventLoop, dict[CompileRequest, asyncio.Task[Release]]] = {}
P = TypeVar("P")
C = TypeVar("C")


@dataclass(frozen=True)
class Sought:
    """A model's source that was looked for. source: None for a release that is named by its digest, and where there are problems."""

    request: CompileRequest
    source: Source | None
    problems: tuple[Problem, ...] = ()


class Sources:
    """Looks for sources: for each once, however many parts of a program name it."""

    def __init__(self) -> None:
        self._known: dict[tuple[CompileRequest, str], Sought] = {}

    def find(self, args: SourceSettings, model_name: str, path: str) -> Sought:
        """The source that the arguments name, and what is wrong with it as far as that is seen without building it."""
        request = request_of(args, model_name)
        if (request, path) not in self._known:
            source, problems = find_checked(request, path)
            self._known[request, path] = Sought(request, source, tuple(problems))
        return self._known[request, path]


@dataclass(frozen=True)
class _Made(Generic[P]):
    """A release, and what it was found good for."""

    release: Release
    plan: P


@dataclass(frozen=True)
class Compiling(Generic[P]):
    """A release on its way, and the plan that was made for it. Both are known at preview. cache_directory: where this machine keeps it."""

    release: Output[Release]
    plan: Output[P]
    cache_directory: str

    def digest(self) -> Output[str]:
        return self.release.apply(lambda release: release.digest)


def request_of(args: SourceSettings, model_name: str) -> CompileRequest:
    """What is to be compiled; relative paths are meant from the project's folder."""
    return CompileRequest(
        model=model_name,
        source=args.model,
        recipe=args.recipe,
        version=args.version,
        evaluation=Path(args.evaluation) if args.evaluation else None,
        base_directory=Path.cwd(),
        # Only `auto` chooses by it. Two components that promise different things of one recipe share its compile.
        min_accuracy=args.min_accuracy if args.recipe.startswith(AUTO) else None,
        training_deadline_seconds=args.training_deadline_seconds,
        allow_unsafe=args.allow_unsafe,
        signature=args.signature,
        custom_objects=args.custom_objects,
    )


class Progress:
    """Shows each step on the component's own row, and how long the step has lasted while it goes on."""

    def __init__(self, component: pulumi.Resource) -> None:
        self._component = component
        self._step, self._since = "", time.monotonic()
        self._ticker = asyncio.ensure_future(self._tick())

    def __call__(self, step: str) -> None:
        self._step, self._since = step, time.monotonic()
        pulumi.log.info(step, self._component, ephemeral=True)

    def close(self) -> None:
        self._ticker.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL_SECONDS)
            seconds = time.monotonic() - self._since
            if self._step and seconds >= PROGRESS_INTERVAL_SECONDS:
                pulumi.log.info(f"{self._step} ({seconds:.0f} s)", self._component, ephemeral=True)


def start(
    component: pulumi.Resource,
    args: SourceSettings,
    sought: Sought,
    path: str,
    judge: Callable[[Release], tuple[P, str]],
) -> Compiling[P]:
    """Starts the compile as a task on the program's loop.

    Args:
        component: whose row shows the progress.
        path: property path of the arguments, for messages.
        judge: looks at the finished release, raises an IsthmusError where it breaks a promise, and returns the plan for it, and what
            the preview says about both. It is asked once.
    """
    directory = default_cache_directory()
    cache = ReleaseCache(directory)

    async def work() -> _Made[P]:
        say = Progress(component)
        try:
            release = await _compile(sought, cache, say, path, lambda line: pulumi.log.warn(line, component))
            problems = check_accuracy(release, args.min_accuracy, path) if args.min_accuracy is not None else []
            if problems:
                raise GateError(problems)
            plan, said = judge(release)
            pulumi.log.info(said, component)
            if args.recipe.startswith(AUTO) and release.record.reason:
                pulumi.log.info(f"recipe {args.recipe} chose {release.record.reason}", component)
        except IsthmusError as error:
            # RunError is what Pulumi shows as one clean message, without a traceback.
            raise pulumi.RunError(str(error)) from None
        finally:
            say.close()
        return _Made(release, plan)

    made: Output[_Made[P]] = Output.from_input(cast(Any, asyncio.ensure_future(work())))  # its stubs know no generic class
    return Compiling(made.apply(lambda it: it.release), made.apply(lambda it: it.plan), str(directory))


async def _compile(sought: Sought, cache: ReleaseCache, progress: Callable[[str], None], path: str, warn: Callable[[str], None]) -> Release:
    request, running = sought.request, _running_here()
    if request not in running:
        running[request] = asyncio.ensure_future(compile_release(request, cache, progress, warn=warn, source=sought.source))
    try:
        return await running[request]
    except InputError as error:
        # The compiler knows the model's name; here is known where it stands in the program.
        raise type(error)([replace(problem, path=_placed(problem.path, request.model, path)) for problem in error.problems]) from error


def _running_here() -> dict[CompileRequest, asyncio.Task[Release]]:
    """Of this program: one process may run several, each on a loop of its own. Those that are over are forgotten."""
    for loop in [loop for loop in _running if loop.is_closed()]:
        del _running[loop]
    return _running.setdefault(asyncio.get_running_loop(), {})


def _placed(where: str, model: str, path: str) -> str:
    """A problem's place in the program. What is not about the model, as a setting of the environment, keeps its own."""
    return path + where.removeprefix(model) if where == model or where.startswith((f"{model}.", f"{model}[")) else where


def describe(release: Release, kind: str) -> str:
    """A release's variant of one kind: accuracy beside the source's, bytes, latency."""
    manifest, record = release.manifest, release.record
    variant, timing = manifest.variant(kind), record.timing(kind)
    return (
        f"release {PREFIX}{manifest.digest.short}, {kind} variant ({variant.recipe}): accuracy {percent(variant.accuracy)} "
        f"(source {percent(manifest.source_accuracy)}), {kilobytes(variant.size_bytes)}, "
        f"one request p50 {timing.p50_ms:.2f} ms, p95 {timing.p95_ms:.2f} ms on {record.machine_class}"
    )


def sound(checked: C | None, problems: Sequence[Problem]) -> C:
    """What was checked. Raises the one error that ends the program where anything is wrong with it."""
    if checked is None or problems:
        raise run_error(problems)
    return checked


def run_error(problems: Sequence[Problem]) -> pulumi.RunError:
    """All problems as the one message that ends the program."""
    return pulumi.RunError(str(InputError(problems)))
