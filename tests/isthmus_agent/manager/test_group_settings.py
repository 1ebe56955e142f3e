"""What a device is told of its group."""

from pathlib import Path
from typing import Any

import pytest
from tests.isthmus_agent.manager.test_settings import problems, value

from isthmus_agent.manager import settings
from isthmus_agent.manager.group_settings import BrokerAt


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Any]:
    """What is needed."""
    for name, content in (("password", "s3cret-word\n"), ("ca.pem", "CERT")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    files = {"password_file": str(tmp_path / "password"), "ca_file": str(tmp_path / "ca.pem")}
    return {"name": "yard", "broker": "mqtts://broker.example", **files}


def test_what_is_needed_is_little_and_inputs_stay_unless_it_is_said(told):
    found = settings.from_value(value(group=told), {}).local.group
    assert found is not None
    assert (found.name, found.broker, found.password()) == ("yard", BrokerAt("broker.example", None, True), "s3cret-word")
    assert (found.shares_inputs, found.peer_timeout_seconds, found.deadline_seconds, found.speaks_5) == (False, 0.5, None, True)
    assert found.pace.expiry_seconds == 7
    assert "s3cret" not in repr(found)


def test_everything_can_be_said(told):
    more = {
        "inputs": "stay_in_group",
        "peer_timeout_ms": 300,
        "deadline_ms": 80,
        "mqtt": "3.1.1",
        "offers_per_second": 0.5,
        "beat_seconds": 1,
    }
    found = settings.from_value(value(group={**told, **more, "broker": "mqtts://[::1]:9999"}), {}).local.group
    assert found is not None
    assert (found.broker, found.shares_inputs, found.peer_timeout_seconds, found.deadline_seconds) == (
        BrokerAt("::1", 9999, True),
        True,
        0.3,
        0.08,
    )
    assert (found.speaks_5, found.most_per_1000_seconds, found.pace.beat_seconds) == (False, 500, 1)


@pytest.mark.parametrize("broker", ["mqtt://127.0.0.1:1883", "mqtt://localhost", "mqtt://[::1]"])
def test_on_the_machine_itself_a_broker_may_have_no_tls(told, broker):
    del told["ca_file"]
    assert not settings.from_value(value(group={**told, "broker": broker}), {}).local.group.broker.is_secure


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a/b"}, "group.name: "),
        ({"broker": "mqtt://broker.example"}, "group.broker: without TLS everybody on the way reads along and writes"),
        ({"broker": "mqtts://me:hunter2@broker"}, "group.broker: expected mqtts://HOST[:PORT]"),
        ({"broker": "http://broker"}, "group.broker: expected mqtts://HOST[:PORT]"),
        ({"broker": "mqtts://broker:0"}, "group.broker: expected mqtts://HOST[:PORT]"),
        ({"broker": "mqtts://broker:99999"}, "group.broker: expected mqtts://HOST[:PORT]"),
        ({"broker": 3}, "group.broker: expected mqtts://HOST[:PORT]"),
        ({"ca_file": None}, "group.ca_file: "),
        ({"password_file": "password"}, "group.password_file: found 'password', expected an absolute path"),
        ({"password_file": "/nowhere/it/is"}, "group.password_file: cannot read '/nowhere/it/is': No such file or directory"),
        ({"inputs": "leave"}, "group.inputs: found 'leave', expected one of stay_on_device, stay_in_group"),
        ({"mqtt": 5}, "group.mqtt: found 5, expected one of 5, 3.1.1"),
        ({"peer_timeout_ms": True}, "group.peer_timeout_ms: "),
        ({"deadline_ms": 0}, "group.deadline_ms: found 0"),
        ({"offers_per_second": float("nan")}, "group.offers_per_second: found nan"),
        ({"beat_seconds": 5}, "group: expiry_seconds: 7 is less than two beats of 5 s"),
        ({"user": "x"}, "group.user: unknown, expected one of"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(told, changes, said):
    (found,) = problems(value(group={**told, **changes}))
    assert found.startswith(said)
    assert "hunter2" not in found


def test_all_that_is_missing_is_said_at_once():
    assert [it.partition(":")[0] for it in problems(value(group={}))] == ["group.name", "group.broker", "group.password_file"]
    assert problems(value(group=[])) == [
        "group: found a list, expected an object",
        *(f"group.{it}: it is missing" for it in ("name", "broker", "password_file")),
    ]


def test_tls_needs_an_authority(told):
    del told["ca_file"]
    (found,) = problems(value(group=told))
    assert found.startswith("group.ca_file: it is missing, and the broker is asked by TLS")


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [("a b", 0o600, "expected one line"), ("", 0o600, "expected one line"), ("word", 0o640, "others may read it (mode 0640)")],
)
def test_a_password_is_one_line_that_only_its_owner_reads(told, content, mode, said):
    file = Path(told["password_file"])
    file.write_text(content)
    file.chmod(mode)
    (found,) = problems(value(group=told))
    assert found.startswith("group.password_file: ")
    assert said in found
