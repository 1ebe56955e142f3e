"""Keys by URI: read where they are, and never by others; what is missing is said."""

from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from isthmus.errors import InputError
from isthmus.repository.keys import KeyNotAtHandError, make_key, public_key, signer_of


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
