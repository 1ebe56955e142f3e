"""Bringing a bundle to a fleet."""

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi import Input, Output, ResourceOptions

from isthmus.resources.base import Resource, this_stack


class Rollout(Resource):
    """Devices of a fleet brought to a release: signs the fleet's target, then waits until every device confirms it.

    It fails with the reason of each device that refused, or stayed silent until `deadline_seconds` (default 120); what
    was published stays in the state, and the next update tries again with a new attempt number. Read compares what the
    devices report with the target: a device that lost it is shown as drift in `confirmed`.
    Outputs: `attempt` (int), `confirmed` (names of the devices that serve the digest).
    """

    attempt: Output[int]
    confirmed: Output[list[str]]

    def __init__(
        self,
        name: str,
        *,
        store: Input[Mapping[str, Any]],
        bucket: Input[str],
        prefix: Input[str],
        fleet: Input[str],
        devices: Input[Sequence[Input[str]]],
        digest: Input[str],
        private_key: Input[str],
        deadline_seconds: Input[int],
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "store": store,
            "bucket": bucket,
            "prefix": prefix,
            "fleet": fleet,
            "devices": devices,
            "digest": digest,
            "private_key": private_key,
            "deadline_seconds": deadline_seconds,
            "owner": this_stack(),
        }
        super().__init__(name, inputs, ["attempt", "confirmed"], opts, secret=["private_key"])
