"""What every platform hands back to a component."""

from dataclasses import dataclass
from typing import Any

from pulumi import Output


@dataclass(frozen=True)
class Served:
    """endpoint: base URL of the gateway. grpc_endpoint: host:port. place: where the parts run, for `isthmus status` and `logs`.

    place has the key `platform`, holds no secret, and is shown as the component's output of that name.
    """

    endpoint: Output[str]
    grpc_endpoint: Output[str]
    place: Output[dict[str, Any]]
