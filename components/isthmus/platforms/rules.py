"""What each platform needs, and what it cannot do: refused by name at preview, never ignored.

Sections of other platforms (`local`, `docker`, `kubernetes`) may stand beside the one in use: a stack file moves between
platforms by its `platform` alone.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.errors import Problem

_CANARY = "a canary needs a gateway whose split changes while it runs and Pods that report to a gate; that is built for kubernetes"
_TLS = "its gateway is for this machine alone, and speaks plain HTTP on loopback"

# Platform → argument → why not. An argument counts as given when the program sets it to something else than its default.
CANNOT: Mapping[str, Mapping[str, str]] = {
    "local": {
        "canary": _CANARY,
        "gateway.tls_key": _TLS,
    },
    "docker": {"canary": _CANARY},
    "kubernetes": {},
}
# Platform → argument → what it is for.
NEEDS: Mapping[str, Mapping[str, str]] = {
    "local": {},
    "docker": {"docker.hosts": "the machines that serve", "store": "the S3 store that the hosts fetch releases from"},
    "kubernetes": {"store": "the S3 store that Pods fetch releases from"},
}


def problems(args: Any, path: str) -> Iterator[Problem]:
    """What the chosen platform refuses or lacks. args: a checked `Cloud`."""
    for argument, reason in CANNOT[args.platform].items():
        if _value(args, argument):
            other = "kubernetes" if argument == "canary" else "docker or kubernetes"
            yield Problem(
                f"{path}.{argument}", f"the platform {args.platform} cannot do this: {reason}", fix=f"use {other}, or leave it out"
            )
    for argument, what in NEEDS[args.platform].items():
        if not _value(args, argument):
            yield Problem(f"{path}.{argument}", f"is missing; the platform {args.platform} needs it", what, "add it")
    yield from _canary_problems(args, path)
    if args.platform == "kubernetes" and args.kubernetes.pools and args.canary is not None:
        yield Problem(f"{path}.canary", "a canary beside pools of unequal speed is not built", fix="leave out the one or the other")


def _canary_problems(args: Any, path: str) -> Iterator[Problem]:
    if args.canary is None:
        for argument in ("canary_percent", "mirror_percent", "canary_gate"):
            if argument in args.model_fields_set:
                yield Problem(f"{path}.{argument}", "there is no canary", fix="add `canary`, or remove this")
    elif args.canary.version == args.version:
        yield Problem(
            f"{path}.canary.version", f"{args.version} is the stable release's version too", "another version", "give the canary its own"
        )


def _value(args: Any, argument: str) -> Any:
    for part in argument.split("."):
        args = getattr(args, part)
    return args
