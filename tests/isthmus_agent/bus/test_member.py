"""A group over real brokers: the broker restarts, a device's process is killed, a link is cut, and all requests have their one answer."""

import signal
import socket
import ssl
import sys
import threading
import time
from random import SystemRandom

import certifi
import paho.mqtt.client as mqtt
import pytest
from tests.isthmus_agent.bus import device
from tests.isthmus_agent.bus.brokers import GROUP, PASSWORDS
from tests.isthmus_agent.bus.conftest import Group

from isthmus_agent.bus.failures import DeviceFailure, UnreachableFailure, UntrustedFailure
from isthmus_agent.bus.link import Broker, Down, Link
from isthmus_agent.bus.member import Member, UnansweredError
from isthmus_agent.formats import presence
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.presence import Order, Presence, last
from isthmus_agent.group.core import Core

pytestmark = pytest.mark.slow

SECONDS = 30.0


def _asked(group: Group, first: int, count: int) -> list:
    return [(b"%d" % it, group.members["asks"].ask("camera", b"%d" % it, SECONDS)) for it in range(first, first + count)]


def _check(asked: list) -> list[str]:
    """Each request has its own answer; by whom."""
    found = []
    for payload, future in asked:
        who, _, answer = future.result(timeout=SECONDS).partition(b":")
        assert answer == payload[::-1]
        found.append(who.decode())
    return found


def _away(group: Group) -> None:
    """The stream of `asks`, which can do nothing itself, is done by `a`, the largest of those that are there."""
    asks = group.join("asks", 0)
    group.wait("asks", lambda it: set(it["members"]) >= {"a", *group.members} - {"asks"})
    asks.open("camera", 300)
    assert asks.status()["streams"]["camera"] == "a"


def test_nothing_is_lost_or_doubled_when_the_broker_restarts_in_the_middle(group):
    group.join("a", 1000)
    _away(group)
    asked = _asked(group, 0, 40)
    group.broker.kill()
    asked += _asked(group, 40, 40)
    group.broker.start()
    asked += _asked(group, 80, 40)
    assert set(_check(asked)) == {"a"}
    status = group.wait("asks", lambda it: it["waiting"] == 0)
    assert status["failure"] is None


def test_streams_of_a_process_that_was_killed_are_with_another_device_in_time(group):
    process = group.spawn("a", 1000)
    group.join("b", 500)
    _away(group)
    asked = _asked(group, 0, 30)
    process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    asked += _asked(group, 30, 30)
    group.wait("asks", lambda it: it["streams"]["camera"] == "b")
    assert time.monotonic() - killed < device.SETTINGS.moved_within_seconds + 1.0, "the expiry, and this machine's own slowness"
    assert _check(asked)[-1] == "b"


def test_what_a_stopped_process_answers_when_it_wakes_up_is_refused(group):
    process = group.spawn("a", 1000)
    group.join("b", 500)
    _away(group)
    process.send_signal(signal.SIGSTOP)
    asked = _asked(group, 0, 10)
    group.wait("asks", lambda it: it["streams"]["camera"] == "b")
    assert set(_check(asked)) == {"b"}
    process.send_signal(signal.SIGCONT)
    group.wait("asks", lambda it: it["answers_refused"] > 0)


def test_a_device_that_is_cut_off_does_its_own_streams_and_is_back_when_it_can(group, way):
    group.join("a", 9000)
    home = group.join("b", 500, port=way.port)
    home.open("camera", 900)
    group.wait("b", lambda it: it["streams"]["camera"] == "a")
    way.cut()
    group.members["asks"] = home
    assert set(_check(_asked(group, 0, 10))) == {"b"}
    way.mend()
    del group.members["asks"]
    group.wait("b", lambda it: it["streams"]["camera"] == "a")


def test_tiles_are_done_by_all_and_joined_in_their_order(group):
    group.join("b", 1000)
    first = group.join("a", 1000)
    group.wait("a", lambda it: it["members"] == ["b"])
    tiles = [b"%d" % it for it in range(40)]
    results = first.split(tiles, 1000, SECONDS).result(timeout=SECONDS)
    assert [it.partition(b":")[2] for it in results] == [it[::-1] for it in tiles]
    assert {it.partition(b":")[0] for it in results} == {b"a", b"b"}


def test_a_request_that_is_cancelled_is_withdrawn(group):
    member = group.join("asks", 0)
    member.open("camera", 1)
    answer = member.ask("camera", b"x", SECONDS)
    assert answer.cancel()
    assert group.wait("asks", lambda it: it["waiting"] == 0)


def test_who_leaves_ends_what_waits(group):
    member = group.join("asks", 0)
    member.open("camera", 1)
    answer = member.ask("camera", b"x", SECONDS)
    member.close()
    with pytest.raises(UnansweredError, match="left"):
        answer.result(timeout=SECONDS)
    with pytest.raises(UnansweredError, match="no part"):
        member.ask("camera", b"x", SECONDS)


def test_hostile_bytes_are_counted_and_passed_over(group):
    group.join("a", 1000)
    _away(group)
    link = group.members["asks"]._link
    for kind in ("presence/asks", "requests/a/asks", "answers/a/asks"):
        link.send(f"isthmus/{GROUP}/{kind}", b"\xff" * 100)
    group.wait("a", lambda it: it["unread"] == 3)
    _check(_asked(group, 0, 1))


def test_what_a_device_tells_is_heard_by_all_that_listen_to_the_subject_and_by_nobody_else(group):
    heard: list = []
    listening = group.join("a", 1000, listens={"views": lambda name, content: heard.append((name, content))})
    teller = group.join("b", 1000)
    group.wait("a", lambda it: it["members"] == ["b"])
    assert teller.tell("other", b"x")
    assert teller.tell("views", b"y")
    group.wait("a", lambda it: heard)
    assert (heard, listening.status()["unread"]) == ([("b", b"y")], 0)
    with pytest.raises(FormatError):
        teller.tell("a/b", b"")


def test_wrong_credentials_are_said_once(group):
    group.join("a", 1000, password="wrong")
    group.wait("a", lambda it: it["failure"])
    ticks = threading.Event()
    ticks.wait(1.2)  # two more tries, at least
    assert [text.partition(". Fix")[0] for _, text in group.said] == ["transport: the broker answers: Not authorized"]


# What a device may do with its own credentials at a broker that keeps the ACL


class _Spy:
    """A device's connection with nothing of ours on it. will: topic and content."""

    def __init__(self, group: Group, name: str, will: tuple[str, bytes] = ("", b""), *, is_5: bool) -> None:
        self.heard: list[str] = []
        self.codes: list[bool] = []
        self.is_there, self.is_subscribed = threading.Event(), threading.Event()
        protocol = mqtt.MQTTv5 if is_5 else mqtt.MQTTv311
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol)
        self.client.username_pw_set(name, PASSWORDS[name])
        self.client.tls_set_context(ssl.create_default_context(cafile=group.ca_file))
        if will[0]:
            self.client.will_set(*will, qos=1, retain=True)
        self.client.on_connect = lambda *_: self.is_there.set()
        self.client.on_message = lambda _client, _data, message: self.heard.append(message.topic)
        self.client.on_subscribe = lambda _client, _data, _mid, codes, _properties: (
            self.codes.extend(code.is_failure for code in codes),
            self.is_subscribed.set(),
        )
        self.client.connect("127.0.0.1", group.broker.port)
        self.client.loop_start()
        assert self.is_there.wait(SECONDS)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_a_device_writes_under_its_own_name_alone(group):
    spy = _Spy(group, "b", is_5=group.broker.speaks_5)
    group.join("a", 1000)
    _away(group)
    forged = presence.encoded(Presence(Order(10**6, 1, 1), 10**9))
    for topic, content in ((f"isthmus/{GROUP}/presence/a", forged), (f"isthmus/{GROUP}/answers/asks/a", b"forged"), ("other", b"x")):
        spy.client.publish(topic, content, qos=1, retain=True)
    spy.client.publish(f"isthmus/{GROUP}/presence/b", presence.encoded(Presence(Order(10**6, 1, 1), 0)), qos=1)
    status = group.wait("asks", lambda it: it["members"] == ["a", "b"])  # what it may write has arrived, after the rest
    assert status["unread"] == 0
    assert group.members["asks"]._core.membership.live(time.monotonic())["a"].capacity_per_1000_seconds == 1000
    spy.close()


def test_a_device_reads_neither_others_requests_nor_their_answers(group):
    spy = _Spy(group, "b", is_5=group.broker.speaks_5)
    spy.client.subscribe([(it, 1) for it in ("#", f"isthmus/{GROUP}/requests/a/+", f"isthmus/{GROUP}/answers/+/+", "isthmus/#")])
    assert spy.is_subscribed.wait(SECONDS)
    group.join("a", 1000)
    _away(group)
    _check(_asked(group, 0, 3))
    assert not [topic for topic in spy.heard if "/presence/" not in topic]
    spy.close()


def test_a_will_under_anothers_name_is_not_said(group):
    if group.broker.kind == "amqtt":
        pytest.skip("amqtt asks no ACL about wills, which docs/groups.md says")
    forged = presence.encoded(Presence(last(10**6, 1)))
    spy = _Spy(group, "b", (f"isthmus/{GROUP}/presence/a", forged), is_5=group.broker.speaks_5)
    group.join("a", 1000)
    _away(group)
    spy.client.socket().shutdown(socket.SHUT_RDWR)
    again = _Spy(group, "b", is_5=group.broker.speaks_5)  # has taken its place: what the will was to say has been said
    again.client.publish(f"isthmus/{GROUP}/presence/b", presence.encoded(Presence(Order(10**6, 1, 1), 0)), qos=1)
    assert group.wait("asks", lambda it: "b" in it["members"])["members"] == ["a", "b"]
    spy.close()
    again.close()


# Without a broker


def _down(broker: Broker) -> object:
    """What is told first."""
    told, found = threading.Event(), []
    link = Link(broker, ["x"], lambda: ("x", b""), lambda what: (found.append(what), told.set()), SystemRandom())
    link.start()
    assert told.wait(SECONDS)
    link.close()
    assert isinstance(found[0], Down)
    return found[0].why


def test_a_device_whose_broker_is_away_does_its_own_streams():
    member, _ = device.made("a", 1, None, "x", 1000, start=1, is_5=True)
    member.start()
    member.open("camera", 100)
    assert member.ask("camera", b"abc", SECONDS).result(timeout=SECONDS) == b"a:cba"
    member.close()


@pytest.mark.parametrize(("group", "user", "what"), [("yard", "b", "user is b"), ("yard/+", "a", "group")])
def test_a_member_by_another_name_than_the_brokers_user_is_refused(group, user, what):
    with pytest.raises(ValueError, match=what):
        Member(group, Broker(host="h", user=user, password="x"), Core("a", 1, 0, device.SETTINGS), lambda *_: None)


def test_a_broker_that_is_away_is_unreachable():
    found = _down(Broker(host="127.0.0.1", user="a", password="x", port=1))
    assert isinstance(found, UnreachableFailure)
    assert found.failure == "transport"


def test_a_broker_that_hangs_up_on_5_is_spoken_to_in_3_1_1_at_once():
    levels = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        broker = Broker(
            host="127.0.0.1", user="a", password="x", port=listener.getsockname()[1], first_backoff_seconds=600, most_backoff_seconds=600
        )
        link = Link(broker, ["x"], lambda: ("x", b""), lambda what: None, SystemRandom())
        link.start()
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                levels.append(connection.recv(1024)[8])
        link.close()
    assert levels == [5, 4]


def test_a_certificate_that_is_not_known_is_not_trusted(running, certificate):
    found = _down(Broker(host="127.0.0.1", user="a", password="x", port=running.port, ca_file=certifi.where()))
    assert isinstance(found, UntrustedFailure)
    assert found.is_patient
    assert "ca_file" in str(found)


def test_a_certificate_for_another_name_is_not_trusted(running, certificate):
    found = _down(Broker(host="localhost", user="a", password="x", port=running.port, ca_file=certificate[0]))
    assert isinstance(found, UntrustedFailure)


def test_a_ca_file_that_is_not_there_is_the_devices_own_failure(tmp_path):
    found = _down(Broker(host="127.0.0.1", user="a", password="x", ca_file=tmp_path / "none"))
    assert isinstance(found, DeviceFailure)
    assert found.failure == "device"


def test_a_device_without_the_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    found = _down(Broker(host="127.0.0.1", user="a", password="x"))
    assert isinstance(found, DeviceFailure)
    assert "isthmus-agent[group]" in str(found)


def test_a_password_is_in_no_repr():
    assert "hidden" not in repr(Broker(host="h", user="a", password="hidden"))
