"""Keys by URI: where the private half is, and how one signs with it. Private keys are in no state, no stack file and no log.

- `file:PATH`: PKCS#8 in PEM, readable by its owner alone. A relative path starts in the key ring's folder.
- `env:NAME`: the same text in a variable of the environment, as CI has its secrets.
- whatever else securesystemslib signs with: `awskms:`, `gcpkms:`, `azurekms:`, `hsm:` (PKCS#11), `hv:` (Vault) …; their libraries are
  the user's to install, and such a key is made where it stays.
"""

import os
from getpass import getpass
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.exceptions import UnsupportedLibraryError, UnverifiedSignatureError
from securesystemslib.signer import (
    SIGNER_FOR_URI_SCHEME,
    CryptoSigner,
    HSMSigner,
    Signer,
    SSlibKey,
)
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata

from isthmus.errors import InputError, IsthmusError, Problem
from isthmus_agent.formats.signed_fields import SCHEMES

FILE, ENVIRONMENT = "file", "env"
PIN_VARIABLE = "ISTHMUS_KEY_PIN"
"""Of a token whose keys are `hsm:`."""
_EXTRAS = {"awskms": "awskms", "gcpkms": "gcpkms", "azurekms": "azurekms", "hsm": "hsm", "hv": "vault", "tkey": "tkey"}
_OTHERS_MASK = 0o077


class KeyNotAtHandError(IsthmusError):
    """The private half of a key cannot be used here: its file, variable or library is missing, or its service does not answer."""


def scheme_of(uri: str) -> str:
    """`file`, `env`, … Raises InputError where nothing signs with such a key."""
    scheme = uri.partition(":")[0]
    if scheme in {FILE, ENVIRONMENT} or scheme in SIGNER_FOR_URI_SCHEME:
        return scheme
    known = ", ".join(f"{it}:" for it in (FILE, ENVIRONMENT, *sorted(_EXTRAS)))
    raise InputError([Problem("key", f"{uri!r} names no kind of key", known)])


def make_key(uri: str, folder: Path) -> SSlibKey:
    """The public half of a new ed25519 key, whose private half is a new file. Raises InputError for any other kind, and if it exists."""
    signer = CryptoSigner.generate_ed25519()
    write_private(uri, folder, signer.private_bytes)
    return signer.public_key


def public_key(uri: str, folder: Path, public_pem: str = "") -> SSlibKey:
    """The public half of a key that exists. public_pem: itself, which keys of a service or a token need.

    Raises InputError where it cannot be read, or no device could verify what it signs, KeyNotAtHandError where it is not here.
    """
    found = _public_key(uri, folder, public_pem)
    if found.scheme not in SCHEMES:
        what = f"{uri} signs by {found.scheme}, which no device can verify"
        raise InputError([Problem("key", what, f"a key of {' or '.join(sorted(SCHEMES))}", "make one of these")])
    return found


def _public_key(uri: str, folder: Path, public_pem: str) -> SSlibKey:
    if public_pem:
        try:
            return SSlibKey.from_crypto(load_pem_public_key(public_pem.encode()))
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InputError([Problem("key", f"the public half of {uri} cannot be read", "a public key in PEM")]) from error
    if scheme_of(uri) not in {FILE, ENVIRONMENT}:
        raise InputError(
            [Problem("key", f"the public half of {uri} is not known", "its public key in PEM", f"give it as {uri},PUBLIC.pem")]
        )
    return private_signer(uri, folder).public_key


def signer_of(uri: str, public: SSlibKey, folder: Path) -> Signer:
    """What signs with a key.

    Raises KeyNotAtHandError where the private half or its library is not here, InputError where what is here is wrong.
    """
    scheme = scheme_of(uri)
    if scheme in {FILE, ENVIRONMENT}:
        signer = private_signer(uri, folder)
        if signer.public_key.keyval != public.keyval:
            raise InputError([Problem("key", f"{uri} is another key than the key ring has", f"the key {public.keyid[:12]}…")])
        return CryptoSigner(signer._private_key, public)
    try:
        found = Signer.from_priv_key_uri(uri, public, _secret)
        if isinstance(found, HSMSigner):
            found._find_token(found.token_label)  # which would be asked for first when it signs
    except UnsupportedLibraryError as error:
        extra = _EXTRAS.get(scheme)
        fix = f"pip install 'securesystemslib[{extra}]'" if extra else "see securesystemslib's documentation"
        raise KeyNotAtHandError(f"the key {uri} cannot be used here: it needs a library that is not installed ({error}): {fix}") from error
    except Exception as error:  # each service has errors of its own
        raise KeyNotAtHandError(f"the key {uri} cannot be used here: {_said(error)}") from error
    return found


def add_signature(metadata: Metadata[Any], signer: Signer) -> None:
    """Signs metadata once more.

    Raises KeyNotAtHandError where the key's service or token does not do it, InputError where what signs is not the key's other half.
    """
    keyid = signer.public_key.keyid[:12]
    try:
        signature = metadata.sign(signer, append=True)
    except UnsignedMetadataError as error:
        fix = f"see where it is with isthmus keys status; of an hsm: key {PIN_VARIABLE} is the PIN"
        raise KeyNotAtHandError(f"the key {keyid}… did not sign: {_said(error.__cause__)}. Fix: {fix}") from error
    try:
        signer.public_key.verify_signature(signature, metadata.signed_bytes)
    except UnverifiedSignatureError:
        # Nobody could verify what would be in force then.
        what = f"what signs for the key {keyid}… is another key"
        raise InputError([Problem("key", what, "the private half of its public half", "give both again: --key URI,PUBLIC.pem")]) from None


def _said(error: BaseException | None) -> str:
    """Some libraries' errors have a name and no text."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _secret(what: str) -> str:
    """A token's PIN: of the environment, else it is asked for."""
    return os.environ.get(PIN_VARIABLE) or getpass(f"{what}: ")


def private_text(uri: str, folder: Path) -> bytes:
    """What a `file:` or `env:` URI has.

    Raises KeyNotAtHandError where it is not here, InputError where others may read it, or it is of another kind.
    """
    scheme, _, name = uri.partition(":")
    if scheme == ENVIRONMENT:
        if not (text := os.environ.get(name, "")):
            raise KeyNotAtHandError(f"the key {uri} is not here: the environment has no variable {name}")
        return text.replace("\\n", "\n").encode()
    if scheme != FILE:
        raise InputError([Problem("key", f"{uri!r} cannot be read here", f"{FILE}:PATH or {ENVIRONMENT}:NAME")])
    path = path_of(uri, folder)
    try:
        if path.stat().st_mode & _OTHERS_MASK:
            raise InputError([Problem("key", f"others than its owner may read {path}", "a file of mode 600", f"chmod 600 {path}")])
        return path.read_bytes()
    except OSError as error:
        raise KeyNotAtHandError(f"the key {uri} is not here: {path}: {error.strerror}") from error


def write_private(uri: str, folder: Path, content: bytes) -> None:
    """A new `file:` with a secret, its owner's alone. Raises InputError for any other kind, and if it exists."""
    if scheme_of(uri) != FILE:
        raise InputError([Problem("key", f"{uri} cannot be made here", "a file: key", "make it where it stays, and give its public half")])
    path = path_of(uri, folder)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError([Problem("key", f"{path} exists already", "a new file", "keep it: it may be somebody's only key")]) from None
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(file)


def private_signer(uri: str, folder: Path) -> CryptoSigner:
    """What signs with the key of a `file:` or `env:` URI. Errors as for `private_text`, and InputError where it is no private key."""
    try:
        return CryptoSigner(load_pem_private_key(private_text(uri, folder), None))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # `from None`: what was given may be the secret itself, with a typing error.
        raise InputError([Problem("key", f"{uri} cannot be read", "a private key in PEM (PKCS#8), without a passphrase")]) from None


def path_of(uri: str, folder: Path) -> Path:
    """Where a `file:` is."""
    return folder / Path(uri.partition(":")[2]).expanduser()
