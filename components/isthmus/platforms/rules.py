"""What each platform needs, and what it cannot do: refused by name at preview, never ignored.

Sections of other platforms (`local`, `docker`, `kubernetes`) may stand beside the one in use: a stack file moves between
platforms by its `platform` alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import create_model

from isthmus.arguments.checking import Checked, one_of
from isthmus.arguments.components import CloudSettings, EdgeSettings, HybridSettings
from isthmus.arguments.source import SourceSettings
from isthmus.errors import Problem
from isthmus.platforms.platform import Platform
from isthmus.platforms.registry import DEFAULT_PLATFORM, PLATFORMS

S = TypeVar("S", bound=SourceSettings)


def with_platforms(model: type[S]) -> type[S]:
    """The checked model of a component, with a section for each platform that it can name, and what these refuse."""
    return _with(model, tuple(PLATFORMS.items()))


@lru_cache(maxsize=16)
def _with(model: type[S], platforms: tuple[tuple[str, Platform], ...]) -> type[S]:
    rules = _RULES[model]

    class WithRules(model):  # type: ignore[valid-type,misc]  # a class that is known when it is called
        def problems(self, path: str) -> Sequence[Problem]:
            return [*super().problems(path), *rules(self, path)]

    fields: dict[str, Any] = {
        name: (it.settings, it.settings()) for name, it in platforms if it.runs_devices or not issubclass(model, EdgeSettings)
    }
    fields["platform"] = (Annotated[str, one_of(tuple(name for name, _ in platforms), "platform")], DEFAULT_PLATFORM)
    return create_model(model.__name__, __base__=WithRules, **fields)


def kind_of_server(args: CloudSettings) -> str:
    """Of all servers that do not say it themselves."""
    return args.server_kind or PLATFORMS[args.platform].server_kind


def named_servers(args: CloudSettings) -> tuple[tuple[float, str], ...]:
    """Speed in multiples of the measured machine, and kind, of each server that the program names (hosts, pools); else empty."""
    found = PLATFORMS[args.platform].servers(getattr(args, args.platform))
    return tuple((it.speed, it.kind or kind_of_server(args)) for it in found for _ in range(it.number))


def _service_problems(args: CloudSettings, path: str) -> Iterator[Problem]:
    platform = PLATFORMS[args.platform]
    for argument, reason in platform.cannot.items():
        if _value(args, argument):
            others = " or ".join(name for name, it in PLATFORMS.items() if argument not in it.cannot)
            what = f"the platform {args.platform} cannot do this: {reason}"
            yield Problem(f"{path}.{argument}", what, fix=f"use {others}, or leave it out")
    for argument, what in platform.needs.items():
        if not _value(args, argument):
            yield Problem(f"{path}.{argument}", f"is missing; the platform {args.platform} needs it", what, "add it")
    yield from platform.problems(args, path)
    if not args.price_problems(path):
        yield from _kind_problems(args, path)


def _kind_problems(args: CloudSettings, path: str) -> Iterator[Problem]:
    priced = args.price_table().servers
    given = {"server_kind": kind_of_server(args)}
    for name, platform in PLATFORMS.items():
        given |= {f"{name}.{it.argument}": it.kind or "" for it in platform.servers(getattr(args, name))}
    for where, kind in given.items():
        if kind and kind not in priced:
            yield Problem(f"{path}.{where}", f"{kind!r} has no price", f"one of {', '.join(priced)}", "add it to prices.servers")


def _fleet_problems(args: EdgeSettings, path: str) -> Iterator[Problem]:
    if not PLATFORMS[args.platform].runs_devices:
        able = " or ".join(name for name, it in PLATFORMS.items() if it.runs_devices)
        yield Problem(f"{path}.platform", f"a fleet's agents do not run on {args.platform}", able, "remove it")


def _hybrid_problems(args: Any, path: str) -> Iterable[Problem]:
    return PLATFORMS[args.platform].device_problems(args, path)


_RULES: Mapping[type[Checked], Callable[[Any, str], Iterable[Problem]]] = {
    CloudSettings: _service_problems,
    EdgeSettings: _fleet_problems,
    HybridSettings: _hybrid_problems,
}


def _value(args: Any, argument: str) -> Any:
    for part in argument.split("."):
        args = getattr(args, part)
    return args
