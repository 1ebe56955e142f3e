import base64
import hashlib

import pytest

from isthmus.errors import InputError
from isthmus.repository import broker_access

GROUPS = {"yard": {"cam-1": "p1", "cam-2": "p2"}, "hall": {"cam-3": "p3"}}


def test_each_device_has_its_own_rules_and_no_others():
    acl = broker_access.mosquitto(GROUPS, certificate="/c.pem", key="/k.pem").acl
    sections = dict(zip(("cam-3", "cam-1", "cam-2"), acl.strip().split("\n\n"), strict=True))
    for device, section in sections.items():
        group = "hall" if device == "cam-3" else "yard"
        assert section.splitlines() == [
            f"user {device}",
            f"topic read isthmus/{group}/presence/+",
            f"topic read isthmus/{group}/requests/{device}/+",
            f"topic read isthmus/{group}/answers/{device}/+",
            f"topic read isthmus/{group}/told/+/+",
            f"topic write isthmus/{group}/presence/{device}",
            f"topic write isthmus/{group}/requests/+/{device}",
            f"topic write isthmus/{group}/answers/+/{device}",
            f"topic write isthmus/{group}/told/+/{device}",
        ]


def test_passwords_are_hashed_and_the_same_each_time():
    files = broker_access.mosquitto(GROUPS, certificate="/c.pem", key="/k.pem")
    assert files == broker_access.mosquitto(GROUPS, certificate="/c.pem", key="/k.pem")
    name, _, entry = files.passwords.splitlines()[0].partition(":")
    _, kind, rounds, salt, digest = entry.split("$")
    assert (name, kind) == ("cam-3", "7")
    assert base64.b64decode(digest) == hashlib.pbkdf2_hmac("sha512", b"p3", base64.b64decode(salt), int(rounds))


def test_nobody_comes_without_a_name_and_a_client_is_called_as_its_user():
    files = broker_access.mosquitto(GROUPS, certificate="/c.pem", key="/k.pem", address="10.0.0.1")
    lines = files.by_name["mosquitto.conf"].splitlines()
    assert {"allow_anonymous false", "use_username_as_clientid true", "listener 8883 10.0.0.1", "certfile /c.pem", "keyfile /k.pem"} <= {
        *lines
    }


def test_a_password_follows_from_the_secret_the_group_the_device_and_its_generation():
    one = broker_access.derived_password(b"secret", "yard", "cam-1")
    others = [
        broker_access.derived_password(b"other", "yard", "cam-1"),
        broker_access.derived_password(b"secret", "hall", "cam-1"),
        broker_access.derived_password(b"secret", "yard", "cam-2"),
        broker_access.derived_password(b"secret", "yard", "cam-1", 1),
    ]
    assert one == broker_access.derived_password(b"secret", "yard", "cam-1")
    assert len({one, *others}) == 5


def test_all_that_is_wrong_with_a_roster_is_said_at_once():
    with pytest.raises(InputError) as caught:
        broker_access.mosquitto({"yard": {"cam-1": "x", "a\nuser b": "x"}, "hall": {"cam-1": "x"}}, certificate="/c", key="/k")
    assert {problem.path for problem in caught.value.problems} == {"groups.yard.cam-1", "groups.yard.a\nuser b"}


@pytest.mark.parametrize("path", ["/c\nallow_anonymous true", ""])
def test_a_path_that_would_be_another_line_is_refused(path):
    with pytest.raises(InputError):
        broker_access.mosquitto(GROUPS, certificate=path, key="/k")
