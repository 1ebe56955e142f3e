"""The `local` platform's own arguments."""

from collections.abc import Sequence
from typing import TypedDict

from pulumi import Input

from isthmus.arguments.checking import AnyPort, Checked, two_ports
from isthmus.errors import Problem
from isthmus.limits import ANY_PORT


class LocalArgs(TypedDict, total=False):
    """The `local` platform's own arguments.

    port, grpc_port: of the gateway, on loopback; 0: any free one. directory: where run-time data is kept.
    """

    port: Input[int]
    grpc_port: Input[int]
    directory: Input[str]


class LocalSettings(Checked):
    port: AnyPort = ANY_PORT.default
    grpc_port: AnyPort = ANY_PORT.default
    directory: str | None = None

    def problems(self, path: str) -> Sequence[Problem]:
        return two_ports(self.port, self.grpc_port, path)
