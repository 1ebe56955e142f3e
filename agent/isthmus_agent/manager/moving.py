"""The token with which a device of a former version moves over (`isthmus_agent.formats.former`)."""

from pathlib import Path
from typing import Final

from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Signature, SSlibKey

from isthmus_agent.formats import former
from isthmus_agent.formats.former import Former
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.manager.enrolment import RefusedTokenFailure
from isthmus_agent.manager.failures import TransportFailure
from isthmus_agent.manager.transport import Transport, fetched

_KEY_ID: Final = "former"


def former_of(file: Path) -> Former:
    """What the device was told then. Raises FormatError, OSError."""
    with file.open("rb") as stream:
        return former.former_from(stream.read(former.MOST_CONFIG_BYTES + 1))


def token_for(device: Former, transport: Transport) -> str:
    """The device's token. Raises RefusedTokenFailure where there is none for it, or what is there is not by the key that it trusts."""
    status, content = fetched(device.moved_url, transport, former.MOST_MOVED_BYTES)
    if status == 404:
        raise RefusedTokenFailure(f"fleet {device.fleet} was not moved yet: ask its operator (isthmus fleet move)")
    if status != 200:
        raise TransportFailure(f"the store answers {status}")
    try:
        envelope = former.envelope_from(content)
    except FormatError as error:  # a portal's page comes with 200 as well, so this is not for ever
        raise TransportFailure(f"what the store answers is no signed document: {error}") from None
    if not any(_is_by(device.public_key, it, envelope.signed) for it in envelope.signatures):
        raise RefusedTokenFailure("the last document is not by the key that this device trusts: nothing of it is followed")
    try:
        moved = former.moved_from(envelope.payload)
    except FormatError as error:
        raise RefusedTokenFailure(f"the last document cannot be read: {error}") from None
    if device.device not in moved.tokens:
        raise RefusedTokenFailure(f"there is no token for {device.device}: ask for one (isthmus fleet move, or isthmus fleet enrol)")
    return moved.tokens[device.device]


def _is_by(public_key: bytes, signature: bytes, signed: bytes) -> bool:
    key = SSlibKey(_KEY_ID, "ed25519", "ed25519", {"public": public_key.hex()})
    try:
        key.verify_signature(Signature(_KEY_ID, signature.hex()), signed)
    except (UnverifiedSignatureError, VerificationError, ValueError):
        return False
    return True
