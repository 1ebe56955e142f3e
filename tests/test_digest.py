"""A release's name, however it comes."""

import hashlib
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from isthmus.digest import Digest, is_digest
from isthmus_agent.formats.digests import shown


@given(st.binary())
def test_a_digest_is_the_text_that_it_is_made_of(content):
    digest = Digest.of(content)
    assert digest == "sha256:" + hashlib.sha256(content).hexdigest() == Digest.from_hex(digest.hex)
    assert json.loads(json.dumps({"digest": digest})) == {"digest": digest}
    assert pickle.loads(pickle.dumps(digest)) == digest  # noqa: S301
    assert shown(digest) == digest.short == digest.hex[:12]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + 63 * "a",
        "sha256:" + 65 * "a",
        "sha256:" + 64 * "A",
        "sha256:" + 64 * "g",
        64 * "a",
        "sha256:" + 64 * "a" + "\n",
    ],
)
def test_anything_else_is_no_digest(text):
    assert not is_digest(text)
    with pytest.raises(ValueError, match="not a digest"):
        Digest(text)
    with pytest.raises(ValidationError):
        TypeAdapter(Digest).validate_python(text)


def test_a_checked_digest_is_one():
    assert type(TypeAdapter(Digest).validate_python("sha256:" + 64 * "0")) is Digest


def test_of_what_is_not_known_nothing_is_shown():
    assert shown("") == ""
