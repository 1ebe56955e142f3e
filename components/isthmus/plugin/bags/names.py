"""Automatic names: the program's name of the resource and a random suffix."""

import hashlib
import secrets

from isthmus.plugin.bags.handler import Call

_SUFFIX_DIGITS = 8


def automatic_name(call: Call, longest: int = 0) -> str:
    """The name that the engine proposes, or else the resource's name with a random suffix in hexadecimal digits.

    The engine's random seed, where there is one, leads to the same name each time. longest: cuts the resource's name, never the
    suffix; 0: no limit.
    """
    if call.proposed_name:
        return call.proposed_name
    seed = call.random_seed or secrets.token_bytes(16)
    suffix = hashlib.sha256(seed + call.urn.encode()).hexdigest()[:_SUFFIX_DIGITS]
    prefix = call.name[: longest - _SUFFIX_DIGITS - 1] if longest else call.name
    return f"{prefix}-{suffix}"
