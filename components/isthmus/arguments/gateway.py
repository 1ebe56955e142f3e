"""What a gateway lets through. Values that may be secret, or Outputs, are `Any` when checked, so that no message ever shows them."""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.arguments.checking import Checked, Limited
from isthmus.arguments.secrets import SECRET, Secret
from isthmus.errors import Problem
from isthmus.limits import GATEWAY


class GatewayArgs(TypedDict, total=False):
    """What the gateway lets through.

    timeout_seconds: for one request. max_request_mib: larger ones are refused. api_keys: client → key (secret); one of them
    must come as x-api-key. jwt_issuer, jwt_audiences, jwks: tokens that are accepted, with the issuer's keys as JSON.
    requests_per_second_per_client, burst_per_client: beyond that a client gets 429. tls_certificate, tls_key: PEM (secret).
    """

    timeout_seconds: Input[float]
    max_request_mib: Input[float]
    api_keys: Input[dict[str, str]]
    jwt_issuer: Input[str]
    jwt_audiences: Input[list[str]]
    jwks: Input[str]
    requests_per_second_per_client: Input[float]
    burst_per_client: Input[int]
    tls_certificate: Input[str]
    tls_key: Input[str]


class GatewaySettings(Checked):
    timeout_seconds: Annotated[float, Limited(GATEWAY["timeout_seconds"])] = GATEWAY["timeout_seconds"].default
    max_request_mib: Annotated[float, Limited(GATEWAY["max_request_mib"])] = GATEWAY["max_request_mib"].default
    api_keys: Annotated[dict[str, Any], SECRET] = Field(default_factory=dict)
    jwt_issuer: str | None = None
    jwt_audiences: tuple[str, ...] = ()
    jwks: Any = None
    requests_per_second_per_client: Annotated[float, Limited(GATEWAY["requests_per_second_per_client"])] | None = None
    burst_per_client: Annotated[int, Limited(GATEWAY["burst_per_client"])] | None = None
    tls_certificate: Any = None
    tls_key: Secret = None

    def problems(self, path: str) -> Sequence[Problem]:
        together = [("jwt_issuer", "jwks"), ("tls_certificate", "tls_key")]
        found = [
            Problem(f"{path}.{missing}", f"is missing beside {given}", "both or neither", f"add {missing}")
            for one, other in together
            for given, missing in ((one, other), (other, one))
            if getattr(self, given) is not None and getattr(self, missing) is None
        ]
        found += [
            Problem(f"{path}.{name}", "is empty", "a text", "remove it, or say it")
            for name in ("jwt_issuer", "jwks", "tls_certificate", "tls_key")
            if getattr(self, name) == ""
        ]
        if "api_keys" in self.model_fields_set and not self.api_keys:
            what, fix = "names no client, and without any key everybody would be let in", "leave it out where everybody may ask"
            found.append(Problem(f"{path}.api_keys", what, "at least one client", fix))
        if self.burst_per_client and self.requests_per_second_per_client is None:
            found.append(
                Problem(f"{path}.burst_per_client", "there is no limit to burst over", fix="add requests_per_second_per_client beside it")
            )
        return found
