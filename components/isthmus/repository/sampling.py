"""Samples of what devices were asked, on the owner's side: the key that opens them, and what of the store is one.

The key is X25519, in PEM (PKCS#8), where a `file:` or `env:` URI says (`repository.keys`). Its public half stands in the stack. Whoever has
the private half, and no store and no device, reads samples.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from isthmus.errors import InputError, IntegrityError, Problem
from isthmus.release.store import MissingObjectError
from isthmus.repository.keys import private_text, write_private
from isthmus.repository.objects import Place
from isthmus_agent.formats import samples
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.report import printable
from isthmus_agent.formats.roster import Roster
from isthmus_agent.formats.samples import Object, Sample
from isthmus_agent.formats.samples_wanted import key_text


@dataclass(frozen=True)
class OwnerKey:
    """The pair that samples are encrypted to."""

    private: X25519PrivateKey

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return self.private.public_key().public_bytes_raw()

    @property
    def text(self) -> str:
        """The public half, as the stack has it."""
        return key_text(self.public)

    def shared(self, ephemeral: bytes) -> bytes:
        """What it has in common with a public key; zeros for what is none."""
        try:
            return self.private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        except ValueError:
            return bytes(len(ephemeral))


def make_key(uri: str, folder: Path) -> OwnerKey:
    """A new pair, its private half in a new file. Raises InputError for any other kind, and if it exists."""
    private = X25519PrivateKey.generate()
    write_private(uri, folder, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return OwnerKey(private)


def owner_key(uri: str, folder: Path) -> OwnerKey:
    """The pair at a `file:` or `env:` URI. Raises KeyNotAtHandError; InputError, which repeats nothing of what is there."""
    try:
        found = load_pem_private_key(private_text(uri, folder), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, X25519PrivateKey):
        what = f"{uri} is no key that samples can be encrypted to"
        raise InputError([Problem("key", what, "a private key of X25519 in PEM (PKCS#8)", "isthmus keys sampling makes one")])
    return OwnerKey(found)


@dataclass(frozen=True)
class Batch:
    """An object of the store that should be a batch of samples. key: as it is in the store: escape it. why_not: why it was not opened, in
    printable ASCII; empty where it was."""

    key: str
    device: str = ""
    samples: tuple[Sample, ...] = ()
    why_not: str = ""


def batches(place: Place, roster: Roster, key: OwnerKey, secret: bytes) -> Iterator[Batch]:
    """All that devices have sent, opened where it can be, in the order of their names. secret: the fleet's, by which devices sign.

    One object is held at a time. Raises StoreError.
    """
    after, is_last, devices = "", False, roster.by_name()

    def report_key(device: str) -> bytes:
        if device not in devices:
            raise FormatError("", f"{device} is not on the roster")
        return devices[device].report_key(secret, roster.fleet)

    while not is_last:
        page = place.objects.page(samples.folder(place.prefix, roster.fleet), after=after)
        is_last = page.is_last or not page.objects
        for listed in page.objects:
            after = listed.key
            try:
                yield _opened(place, listed.key, roster.fleet, key, report_key)
            except (FormatError, IntegrityError, MissingObjectError) as error:
                yield Batch(listed.key, why_not=printable(str(error)))


def _opened(place: Place, object_key: str, fleet: str, key: OwnerKey, report_key: Callable[[str], bytes]) -> Batch:
    origin = samples.origin_of(object_key, place.prefix, fleet)
    its_key = report_key(origin.device)
    found = Object(origin, place.objects.get(object_key, max_bytes=samples.MOST_OBJECT_BYTES))
    if not found.is_by(its_key):
        raise FormatError("", f"{origin.device} has not written it, or with keys that it had before")
    return Batch(object_key, origin.device, found.opened(key.shared, key.public))
