"""Keys of a repository whose signatures securesystemslib verifies by a library that a device does not have.

A part of the program `metadata`, which ends; nothing else imports it.
"""

from typing import Any, Final

from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import KEY_FOR_TYPE_AND_SCHEME, Signature, SSlibKey

from isthmus_agent.formats import ecdsa

_KEY_TYPE: Final = "ecdsa"


class CurveKey(SSlibKey):
    """A key of one of NIST's curves."""

    def verify_signature(self, signature: Signature, data: bytes) -> None:
        """As every key. Raises UnverifiedSignatureError, and VerificationError where the key is none."""
        public: Any = self.keyval.get("public")
        try:
            is_signed = signature.keyid == self.keyid and ecdsa.is_signed(self.scheme, public, bytes.fromhex(signature.signature), data)
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise VerificationError(f"key {self.keyid}: {error}") from error
        if not is_signed:
            raise UnverifiedSignatureError(f"key {self.keyid} did not sign it")


def use() -> None:
    """Has python-tuf read such keys so, in this process."""
    KEY_FOR_TYPE_AND_SCHEME.update(dict.fromkeys(((_KEY_TYPE, scheme) for scheme in ecdsa.CURVES), CurveKey))
