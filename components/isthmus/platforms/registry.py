"""The platforms that there are. A new one is a folder, and a line in PlatformArgs."""

from importlib import import_module
from inspect import get_annotations
from typing import TypedDict

from pulumi import Input

from isthmus.errors import InputError, Problem
from isthmus.observing.parts import Outputs
from isthmus.platforms.docker.settings import DockerArgs
from isthmus.platforms.kubernetes.settings import KubernetesArgs
from isthmus.platforms.local.settings import LocalArgs
from isthmus.platforms.platform import Observer, Platform

DEFAULT_PLATFORM = "local"


class PlatformArgs(TypedDict, total=False):
    """Each platform's own arguments, under its name. Those of the others may stay where they are: a program moves by `platform` alone."""

    local: Input[LocalArgs]
    docker: Input[DockerArgs]
    kubernetes: Input[KubernetesArgs]


PLATFORMS: dict[str, Platform] = {
    name: import_module(f"isthmus.platforms.{name}.platform").PLATFORM for name in get_annotations(PlatformArgs)
}
"""Name → platform. The folder `isthmus/platforms/NAME` has the rest."""


def observer_of(outputs: Outputs) -> Observer:
    """Who asks the parts of a service or fleet; a fleet's agents are on this machine. outputs: its own, as the stack has them.

    Raises InputError for a platform that this version does not know.
    """
    name = str((outputs.get("place") or {"platform": DEFAULT_PLATFORM})["platform"])
    if name not in PLATFORMS:
        raise InputError([Problem("", f"a service runs on platform {name!r}, which this version does not know")])
    return PLATFORMS[name].observer()
