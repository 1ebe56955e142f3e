"""Where a fleet's repository is: the user's own store, or the one of the local stack."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi import Output

from isthmus.arguments.components import EdgeSettings
from isthmus.arguments.fleet_file import FleetSettings
from isthmus.platforms.local import desired as local
from isthmus.platforms.local.declare import LocalStack
from isthmus.platforms.local.settings import LocalSettings
from isthmus.platforms.publishing import key_prefix


@dataclass(frozen=True)
class FleetPlace:
    """Where a fleet's repository is. inputs: of each resource that has to do with it. ready: what must exist before.

    identities: of a store of the stack's own: where those of devices are written.
    """

    stack: LocalStack
    inputs: Mapping[str, Any]
    ready: list[pulumi.Resource]
    identities: Mapping[str, Any] | None

    @classmethod
    def of(cls, settings: EdgeSettings, fleet: FleetSettings) -> "FleetPlace":
        """The user's own store, or the one of the local stack."""
        stack = LocalStack.of(settings.section(LocalSettings).directory)
        keys = str(Path(settings.keys).absolute() if settings.keys else stack.directory / "fleets" / fleet.name / "keys")
        place: dict[str, Any] = {"fleet": fleet.name, "keys": keys}
        if settings.store is None:
            bucket = stack.bucket(settings.bucket)
            address, server = stack.store
            # A store of the stack's own is nobody else's; in any other the stack's keys are apart from those of others.
            place |= {"store": address, "bucket": bucket.bucket, "prefix": f"{fleet.name}/"}
            identities = {"supervisor": stack.supervisor.directory, "program": local.STORE}
            return cls(stack, place, [server, bucket], identities)
        given = {key: getattr(settings.store, key) for key in ("endpoint", "region", "access_key", "secret_key")}
        place |= {"store": {**given, **access_secret(given)}, "bucket": settings.bucket, "prefix": key_prefix(settings, fleet.name)}
        return cls(stack, place, [], None)


def access_secret(values: Mapping[str, Any]) -> dict[str, Any]:
    """The two halves of an access key, as secrets."""
    return {key: Output.secret(values[key]) for key in ("access_key", "secret_key")}
