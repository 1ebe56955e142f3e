"""What a component's `gateway` arguments are to the gateway. The values that may be secret come apart, once they are known."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pulumi import Output

from isthmus.arguments.gateway import GatewaySettings
from isthmus.errors import Problem
from isthmus.gateway import GatewayOptions, Jwt, options_problems
from isthmus.gateway.spec import MIB

if TYPE_CHECKING:
    pass

SECRETS = ("api_keys", "jwks", "tls_certificate", "tls_key")
"""Arguments whose values are resolved apart from the rest."""


def access_of(args: GatewaySettings) -> Output[dict[str, Any]]:
    """The values of SECRETS, to be resolved; secret where there are any."""
    found = {name: getattr(args, name) for name in SECRETS}
    return Output.secret(found) if any(found.values()) else Output.from_input(found)


def options_of(args: GatewaySettings, secrets: Mapping[str, Any] | None = None) -> GatewayOptions:
    """The options. secrets: the values of SECRETS; without them the options hold for all that shows no secret.

    tls is each platform's own: where the files lie is known there.
    """
    known = secrets or {}
    jwt = Jwt(args.jwt_issuer, args.jwt_audiences, str(known.get("jwks") or '{"keys": []}')) if args.jwt_issuer else None
    return GatewayOptions(
        timeout_seconds=args.timeout_seconds,
        max_request_bytes=math.ceil(args.max_request_mib * MIB),
        api_keys=dict(known.get("api_keys") or {}),
        jwt=jwt,
        requests_per_second_per_client=args.requests_per_second_per_client or 0.0,
        burst_per_client=args.burst_per_client or 0,
    )


def problems(args: GatewaySettings, path: str) -> list[Problem]:
    """What is wrong with keys and tokens that are known already; said without showing them. path: of the `gateway` arguments."""
    known = {name: value for name in ("api_keys", "jwks") if _is_plain(value := getattr(args, name))}
    options = options_of(args, known)
    # No keys are not wrong keys: they are another resource's, or missing, which is said elsewhere.
    return options_problems(options if known.get("jwks") else replace(options, jwt=None), path)


def _is_plain(value: Any) -> bool:
    values = value.values() if isinstance(value, Mapping) else [value]
    return all(isinstance(item, str) for item in values)
