"""Keys by URI: read where they are, and never by others; what is missing is said."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner, HSMSigner, Signature
from tuf.api.metadata import Metadata, Snapshot

from isthmus.errors import InputError
from isthmus.repository.keyring import Keyring
from isthmus.repository.keys import PIN_VARIABLE, KeyNotAtHandError, add_signature, make_key, public_key, signer_of
from isthmus.repository.objects import Place
from isthmus.repository.refresh import refresh


def test_a_file_signs_with_the_key_that_was_made(tmp_path: Path):
    public = make_key("file:new/a.pem", tmp_path)
    signature = signer_of("file:new/a.pem", public, tmp_path).sign(b"said")
    public.verify_signature(signature, b"said")
    assert public_key("file:new/a.pem", tmp_path) == public


def test_a_key_is_not_made_over_another(tmp_path: Path):
    make_key("file:a.pem", tmp_path)
    with pytest.raises(InputError, match="exists already"):
        make_key("file:a.pem", tmp_path)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path):
    public = make_key("file:a.pem", tmp_path)
    (tmp_path / "a.pem").chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        signer_of("file:a.pem", public, tmp_path)


def test_another_key_in_its_place_is_refused(tmp_path: Path):
    make_key("file:a.pem", tmp_path)
    with pytest.raises(InputError, match="another key than the key ring has"):
        signer_of("file:a.pem", CryptoSigner.generate_ed25519().public_key, tmp_path)


def test_what_is_no_key_is_refused_without_showing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KEY", "hunter2")
    with pytest.raises(InputError, match="env:KEY cannot be read") as caught:
        public_key("env:KEY", tmp_path)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("uri", ["file:gone.pem", "env:NO_SUCH_VARIABLE"])
def test_a_key_that_is_elsewhere_is_not_at_hand(tmp_path: Path, uri: str):
    with pytest.raises(KeyNotAtHandError, match="is not here"):
        signer_of(uri, CryptoSigner.generate_ed25519().public_key, tmp_path)


def test_an_unknown_kind_is_told_with_those_that_there_are(tmp_path: Path):
    with pytest.raises(InputError, match=r"'ftp:x' names no kind of key; expected file:, env:, awskms:"):
        public_key("ftp:x", tmp_path)


def test_a_key_of_a_service_needs_its_public_half(tmp_path: Path):
    with pytest.raises(InputError, match=r"PUBLIC\.pem"):
        public_key("awskms:alias/root", tmp_path)


def test_a_key_whose_signatures_no_device_could_verify_is_refused(tmp_path: Path):
    signer = CryptoSigner.generate_rsa()
    (tmp_path / "a.pem").write_bytes(signer.private_bytes)
    (tmp_path / "a.pem").chmod(0o600)
    for uri, public_pem in (("file:a.pem", ""), ("awskms:alias/root", signer.public_key.keyval["public"])):
        with pytest.raises(InputError, match=f"{uri} signs by {signer.public_key.scheme}, which no device can verify; expected a key of"):
            public_key(uri, tmp_path, public_pem)


def test_a_library_that_is_missing_is_told_with_how_to_install_it(tmp_path: Path):
    with pytest.raises(KeyNotAtHandError, match=r"pip install 'securesystemslib\[gcpkms\]'"):
        signer_of("gcpkms:projects/x", CryptoSigner.generate_ed25519().public_key, tmp_path)


class PinIncorrect(Exception):  # noqa: N818 - the name is the library's
    """As PKCS#11's library has it: without a word."""


class Token:
    def open(self, user_pin: str) -> None:
        assert user_pin == "hunter2"
        raise PinIncorrect


def test_a_token_that_is_away_is_not_at_hand_and_one_that_does_not_sign_says_why_without_its_pin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What a real one does is in docs/fleet-keys.md."""
    monkeypatch.setenv(PIN_VARIABLE, "hunter2")
    monkeypatch.setattr("securesystemslib.signer._hsm_signer.PKCS11_IMPORT_ERROR", None)
    tokens: list[Token] = []

    def find(label: str | None) -> Token:
        if not tokens:
            raise ValueError(f"No PKCS#11 token found for label {label}")
        return tokens[0]

    monkeypatch.setattr(HSMSigner, "_find_token", staticmethod(find))
    public = CryptoSigner(ec.generate_private_key(ec.SECP256R1())).public_key
    with pytest.raises(KeyNotAtHandError, match=r"hsm:2\?label=ours cannot be used here: ValueError: No PKCS#11 token found"):
        signer_of("hsm:2?label=ours", public, tmp_path)
    tokens.append(Token())
    signer = signer_of("hsm:2?label=ours", public, tmp_path)
    with pytest.raises(KeyNotAtHandError, match=f"the key {public.keyid[:12]}… did not sign: PinIncorrect. Fix: ") as caught:
        add_signature(Metadata(Snapshot()), signer)
    assert "hunter2" not in str(caught.value)


class Another(CryptoSigner):
    """Signs with another key than its public half is of."""

    def sign(self, payload: bytes) -> Signature:
        return Signature(self.public_key.keyid, CryptoSigner.generate_ed25519().sign(payload).signature)


def test_what_is_signed_by_another_key_than_its_public_half_is_never_in_force(
    place: Place, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
):
    """As with the public half of a token's other key: devices, and the next publisher, would find nothing that verifies."""
    (ours,) = keyring.signers("timestamp")
    assert isinstance(ours, CryptoSigner)
    another, before = Another(ours._private_key, ours.public_key), place.objects.tag(place.timestamp_key)
    monkeypatch.setattr("isthmus.repository.keyring.signer_of", lambda *arguments: another)
    with pytest.raises(InputError, match=f"what signs for the key {ours.public_key.keyid[:12]}… is another key"):
        refresh(place, keyring)
    assert place.objects.tag(place.timestamp_key) == before
