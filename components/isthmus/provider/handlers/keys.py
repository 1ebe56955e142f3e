"""StoreCredentials and LoopbackCertificate: secrets that are made once, and live in the state alone."""

import secrets
import string
from typing import Final

from isthmus.plugin.handler import Context, Created, Found, HandlerBase, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties

_ACCESS_KEY_LENGTH: Final = 20  # as long as AWS's own
_SECRET_KEY_LENGTH: Final = 40
_LETTERS: Final = string.ascii_letters + string.digits


class _MadeOnceHandler(HandlerBase):
    """Nothing of it exists outside the state: there is nothing to read, to update or to delete."""

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        return {name: UNKNOWN if state is None else state.get(name, UNKNOWN) for name in self.spec.outputs}

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not state:
            raise not_importable(self.spec.name, "its secret cannot be read back")
        return Found({}, dict(state))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return dict(state)

    def delete(self, id: str, state: Values, context: Context) -> None:
        return


class StoreCredentialsHandler(_MadeOnceHandler):
    spec = ResourceSpec(
        name="StoreCredentials",
        description="A random S3 access key and secret key, made once and kept in the state as secrets.",
        outputs={
            "access_key": Property("string", "the access key", secret=True),
            "secret_key": Property("string", "the secret key", secret=True),
        },
    )

    def create(self, inputs: Values, context: Context) -> Created:
        keys = {"access_key": _random(_ACCESS_KEY_LENGTH), "secret_key": _random(_SECRET_KEY_LENGTH)}
        return Created(f"credentials-{secrets.token_hex(4)}", keys)


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


class LoopbackCertificateHandler(_MadeOnceHandler):
    spec = ResourceSpec(
        name="LoopbackCertificate",
        description="A certificate for 127.0.0.1 that is its own authority, made once: programs that share its key know each other by it.",
        outputs={
            # Secret as well: it goes where the key goes, and a file with one secret in it is secret as a whole.
            "certificate": Property("string", "the certificate, PEM", secret=True),
            "private_key": Property("string", "its private key, PEM", secret=True),
        },
    )

    def create(self, inputs: Values, context: Context) -> Created:
        from isthmus.provider.local import certificates

        made = certificates.for_loopback()
        return Created(f"certificate-{made.serial_number:x}"[:32], {"certificate": made.certificate_pem, "private_key": made.private_pem})
