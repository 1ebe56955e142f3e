"""What is known of a gateway's secrets only while the program runs is checked then."""

import asyncio
import json

import pulumi
import pytest
from pulumi import Output

from isthmus.arguments.gateway import GatewaySettings
from isthmus.arguments.gateway_options import access_of, options_of

KEY = "a-key-of-sixteen-signs"


def resolved(**arguments):
    async def ask():
        later = {name: Output.from_input(value) for name, value in arguments.items() if name != "api_keys"}
        keys = {client: Output.secret(key) for client, key in arguments.get("api_keys", {}).items()}
        settings = GatewaySettings(**later, **({"api_keys": keys} if keys else {}), **({"jwt_issuer": "me"} if "jwks" in later else {}))
        return settings, await access_of(settings, "services.digits.gateway").future()

    return asyncio.run(ask())


def test_what_another_resource_tells_is_taken_up():
    jwks = json.dumps({"keys": [{"kty": "EC"}]})
    settings, known = resolved(api_keys={"shop": KEY}, jwks=jwks)
    options = options_of(settings, known)
    assert options.api_keys == {"shop": KEY}
    assert options.jwt is not None
    assert options.jwt.jwks == jwks


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"api_keys": {"shop": ""}}, 'api_keys["shop"]: is too short'),
        ({"api_keys": {"shop": None}}, 'api_keys["shop"]: is too short'),
        ({"api_keys": {"shop": KEY, "bank": KEY}}, "api_keys: shop, bank have the same key"),
        ({"jwks": "hunter2"}, "jwks: is not a JSON Web Key Set"),
        ({"jwks": ""}, "jwks: is empty"),
        ({"tls_certificate": "", "tls_key": "hunter2"}, "tls_certificate: is empty"),
    ],
)
def test_what_no_gateway_could_take_up_ends_the_program_and_is_not_shown(arguments, says):
    with pytest.raises(pulumi.RunError) as caught:
        resolved(**arguments)
    assert f"services.digits.gateway.{says}" in str(caught.value)
    assert KEY not in str(caught.value)
    assert "hunter2" not in str(caught.value)
