"""What a component's `gateway` arguments are to the gateway. The values that may be secret come apart, once they are known."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pulumi
from pulumi import Output

from isthmus.arguments.gateway import GatewaySettings
from isthmus.errors import InputError, Problem
from isthmus.gateway import GatewayOptions, Jwt, options_problems
from isthmus.gateway.spec import MIB

SECRETS = ("api_keys", "jwks", "tls_certificate", "tls_key")
"""Arguments whose values are resolved apart from the rest."""


def access_of(args: GatewaySettings, path: str) -> Output[dict[str, Any]]:
    """The values of SECRETS, resolved, and checked then: an Envoy that cannot take new keys goes on with the old ones. Secret where
    there are any. path: of the `gateway` arguments.
    """
    found = {name: getattr(args, name) for name in SECRETS}
    resolved: Output[dict[str, Any]] = Output.secret(found) if any(found.values()) else Output.from_input(found)

    def checked(known: dict[str, Any]) -> dict[str, Any]:
        empty = [Problem(f"{path}.{name}", "is empty", "a text") for name in SECRETS if getattr(args, name) and not known[name]]
        options = options_of(args, known)
        if wrong := empty or options_problems(options, path):
            raise pulumi.RunError(str(InputError(wrong)))
        return known

    return resolved.apply(checked)


def options_of(
    args: GatewaySettings, secrets: Mapping[str, Any] | None = None, *, device_requests: int = 0, gateways: int = 1
) -> GatewayOptions:
    """The options. secrets: the values of SECRETS; without them the options hold for all that shows no secret.

    device_requests: as the plan has them for so many gateways together, each of which lets in its part, and one at the least.

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
        device_requests=max(1, device_requests // gateways) if device_requests else 0,
    )


def problems(args: GatewaySettings, path: str) -> list[Problem]:
    """What is wrong with keys and tokens that are known already; said without showing them. path: of the `gateway` arguments."""
    keys = {client: key for client, key in args.api_keys.items() if _is_plain(key)}
    options = options_of(args, {"api_keys": keys, "jwks": args.jwks})
    # No keys are not wrong keys: they are another resource's, or missing, which is said elsewhere.
    return options_problems(options if args.jwks and _is_plain(args.jwks) else replace(options, jwt=None), path)


def _is_plain(value: Any) -> bool:
    """Whether a value is known already: no Output, and nothing to wait for."""
    return value is None or isinstance(value, (str, int, float, Mapping, list))
