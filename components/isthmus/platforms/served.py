"""What every platform hands back to a component."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi import Output


@dataclass(frozen=True)
class Served:
    """endpoint: base URL of the gateway. grpc_endpoint: host:port. place: where the parts run, for `isthmus status` and `logs`.

    place has the key `platform`, holds no secret, and is shown as the component's output of that name.
    parts: what is there once it serves the release, and a canary has passed its gate. versions: where servers keep the versions before,
    what a `RetiredVersions` is told of them; empty: they do not. split: of a canary, as for `FleetWave`; empty: there is none.
    promote: declares what gives a canary all requests that has passed its gate, once some resources are there; None: nobody has to.
    """

    endpoint: Output[str]
    grpc_endpoint: Output[str]
    place: Output[dict[str, Any]]
    parts: Sequence[pulumi.Resource] = ()
    versions: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)
    promote: Callable[[Sequence[pulumi.Resource]], pulumi.Resource] | None = None
