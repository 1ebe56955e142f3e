"""What a platform is: everything that the rest of Isthmus asks of one, and nothing else.

Each platform's side of it is `platforms/NAME/platform.py`; what runs there and how it is declared and observed lies beside it and is
loaded when it is used: the Kubernetes SDK alone takes most of a second.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pulumi

from isthmus.arguments.checking import Checked
from isthmus.arguments.components import CloudSettings
from isthmus.compiling import Compiling
from isthmus.errors import Problem
from isthmus.observing.parts import Block, Outputs, Source
from isthmus.observing.reach import Client, Server, Way
from isthmus.observing.stack_state import StackState
from isthmus.platforms.served import Served
from isthmus.sizing.service import Autoscale, ServicePlan

DEFAULT_SERVER_KIND = "cpu-2"
NO_CANARY = "a canary needs a gateway whose split changes while it runs and Pods that report to a gate; that is built for kubernetes"
"""Why a platform without these refuses one."""


@dataclass(frozen=True)
class Servers:
    """Servers that a program names: so many of one speed (in multiples of the measured machine) and kind.

    argument: where the kind would be said, such as `hosts[0].server_kind`. kind: None: the service's.
    """

    argument: str
    speed: float
    kind: str | None
    number: int = 1


class Observer(Protocol):
    """A service that runs, as the commands see it. name, outputs: the service's, as the stack has them. All raise IsthmusError."""

    def block(self, name: str, outputs: Outputs, state: StackState) -> Block:
        """Its parts, each with its state."""
        ...

    def way(self, name: str, outputs: Outputs, client: Client) -> Way:
        """How its gateway is asked from here."""
        ...

    def servers(self, name: str, outputs: Outputs, state: StackState, client: Client) -> list[Server]:
        """Whom a large job gives its work to."""
        ...

    def sources(self, name: str, outputs: Outputs, state: StackState) -> list[Source]:
        """Its parts' logs."""
        ...


class Platform(Protocol):
    """Where services run.

    settings: its own arguments, which stand under its name in a program, checked. cannot: argument of a service → why it cannot do
    that; given, it is refused by name and never ignored. needs: argument → what it is for; left out, it is asked for.
    server_kind: of the price table, for servers of which nothing else is said. runs_devices: whether a fleet's agents can run there.
    keeps_before: whether a release can come beside the one before while a fleet goes over to it; `serve` takes `keeps_before` then.
    """

    settings: type[Checked]
    cannot: Mapping[str, str] = {}
    needs: Mapping[str, str] = {}
    server_kind: str = DEFAULT_SERVER_KIND
    runs_devices: bool = False
    keeps_before: bool = False

    def problems(self, args: CloudSettings, path: str) -> Iterable[Problem]:
        """What else it refuses. path: of the service's arguments."""
        return ()

    def device_problems(self, args: CloudSettings, path: str) -> Iterable[Problem]:
        """Why devices could not ask a service there."""
        return ()

    def servers(self, section: Any) -> tuple[Servers, ...]:
        """The servers that the program names one by one; empty: as many of one kind as the plan needs. section: of `settings`."""
        return ()

    def autoscale(self, args: CloudSettings) -> Autoscale | None:
        """How replicas follow the demand; None: they do not."""
        return None

    def serve(
        self,
        component: pulumi.Resource,
        name: str,
        model_name: str,
        *,
        args: CloudSettings,
        made: Compiling[ServicePlan],
        canary: Compiling[None] | None = None,
        path: str,
    ) -> Served:
        """Declares servers and a gateway.

        component: their parent, called `name`. path: of the arguments, for messages.
        made: the release with its plan. canary: a second release beside the first.
        """
        ...

    def observer(self) -> Observer:
        """The other side: what runs, asked."""
        ...
