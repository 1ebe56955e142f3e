"""The cloud role is asked for as long as somebody waits, and only what is an answer comes back."""

import datetime
import ipaddress
import json
import math
import select
import ssl
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.isthmus_agent.clouds import PREDICTIONS, SLOW, WRONG, CloudRole, hangs, right, says, with_status
from toolchain.testing import patience

from isthmus_agent.channel import Fallback
from isthmus_agent.formats.pauses import MOST_PAUSE_SECONDS
from isthmus_agent.protocol import Signature, TensorInfo
from isthmus_agent.server.answers import Due
from isthmus_agent.server.breaker import MOST_FAILURES, Breaker
from isthmus_agent.server.cloud import Cloud
from isthmus_agent.server.fallback import check_by

SIGNATURE = Signature({"x": TensorInfo("float32", (-1, 4))}, {"y": TensorInfo("float32", (-1, 3))})
BODY = b'{"instances": [[1, 2, 3, 4]]}'
CHECK = check_by(SIGNATURE, row=True, examples=1)
MOST_BYTES = 1 << 20


class Asking:
    """A loop's part."""

    def __init__(
        self,
        role: CloudRole,
        timeout_seconds: float,
        breaker: Breaker | None = None,
        request_seconds: float = 60.0,
        ca_file: str | None = None,
    ) -> None:
        fallback = Fallback(f"{role.url}/base", 0.8, timeout_seconds, ca_file)
        self.cloud = Cloud(fallback, most_answer_bytes=MOST_BYTES, request_seconds=request_seconds, breaker=breaker)

    def ask(self, began: float | None = None, is_needed: bool = False, deadline_seconds: float | None = None) -> Hashable | None:
        due = Due(time.monotonic() if began is None else began, deadline_seconds)
        return self.cloud.ask("digits", BODY, CHECK, due, is_needed=is_needed)

    def wait(self, question: Hashable | None = None) -> bytes | None:
        """What one question brought; of the next that is over, where it is None."""
        deadline = patience.Deadline(30)
        while not deadline.over():
            until = self.cloud.next_at()
            assert until is not None
            select.select([self.cloud], [], [], max(0.0, until - time.monotonic()))
            for which, found in self.cloud.answered():
                if which is question or question is None:
                    return found
        raise AssertionError("nothing came of it")

    def rest(self) -> list[bytes | None]:
        """What everything that is asked now brings."""
        found: list[bytes | None] = []
        while (until := self.cloud.next_at()) is not None:
            select.select([self.cloud], [], [], max(0.0, until - time.monotonic()))
            found += [it for _, it in self.cloud.answered()]
        return found

    def answer(self) -> bytes | None:
        question = self.ask()
        assert question is not None
        return self.wait(question)


@pytest.fixture
def begin() -> Iterator[Callable[..., tuple[CloudRole, Asking]]]:
    roles: list[CloudRole] = []

    def make(answer: Callable[..., None] = right, timeout_seconds: float = 20.0, **more: object) -> tuple[CloudRole, Asking]:
        roles.append(CloudRole(answer))
        return roles[-1], Asking(roles[-1], timeout_seconds, **more)  # type: ignore[arg-type]

    yield make
    for role in roles:
        role.stop()


def test_the_cloud_is_asked_what_the_device_was_over_a_connection_that_is_kept(begin):
    role, asking = begin()
    for _ in range(3):
        assert json.loads(asking.answer()) == {"predictions": PREDICTIONS}
    assert role.bodies == [{"instances": [[1, 2, 3, 4]]}] * 3
    assert {(it.method, it.target) for it in role.asked} == {("POST", "/base/v1/models/digits:predict")}
    assert role.connections == 1


def test_a_connection_that_the_cloud_has_ended_meanwhile_costs_no_answer(begin):
    role, asking = begin()

    def answers_once(connection, request):
        right(connection, request)
        connection.close()

    role.answer = answers_once
    assert [asking.answer() is not None for _ in range(3)] == [True] * 3
    assert role.connections == 3


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_answer_is_none(begin, wrong):
    role, asking = begin(wrong)
    assert asking.answer() is None
    assert {it.target for it in role.asked} == {"/base/v1/models/digits:predict"}
    role.answer = right
    assert asking.answer() is not None


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW.keys())
def test_what_takes_too_long_or_never_ends_is_given_up(begin, slow):
    _, asking = begin(slow, timeout_seconds=0.3)
    began = time.monotonic()
    assert asking.answer() is None
    assert time.monotonic() - began < patience.scaled(5)


def test_the_time_of_a_request_is_all_that_there_is_for_the_cloud(begin):
    _, asking = begin(hangs, timeout_seconds=60.0, request_seconds=0.5)
    began = time.monotonic()
    assert asking.wait(asking.ask(began - 0.3)) is None
    assert 0.15 <= time.monotonic() - began < patience.scaled(5)


def test_nobody_waits_longer_than_to_the_deadline_of_the_request(begin):
    role, asking = begin(hangs, timeout_seconds=60.0)
    began = time.monotonic()
    assert asking.wait(asking.ask(began, deadline_seconds=0.2)) is None
    assert 0.15 <= time.monotonic() - began < patience.scaled(5)
    assert asking.ask(time.monotonic() - 1, deadline_seconds=0.5) is None  # it is over before anything is sent
    assert asking.ask(time.monotonic() - 1, deadline_seconds=0.5, is_needed=True) is None
    assert len(role.asked) == 1


def test_deadlines_that_are_shorter_than_the_cloud_needs_say_nothing_against_the_cloud(begin):
    go = threading.Event()

    def waits(connection, request):
        go.wait(patience.scaled(30))
        right(connection, request)

    _, asking = begin(waits)
    for _ in range(2 * MOST_FAILURES):
        assert asking.wait(asking.ask(deadline_seconds=0.01)) is None
    go.set()
    assert [it is not None for it in asking.rest()] == [True] * 2 * MOST_FAILURES  # for nobody
    assert asking.answer() is not None


def test_a_cloud_that_is_away_is_found_out_though_every_request_is_in_a_hurry(begin):
    _, asking = begin(hangs, timeout_seconds=0.3)
    hurried = [asking.ask(deadline_seconds=0.01) for _ in range(3 * 8)]
    for question in hurried:
        assert question is not None
    assert asking.rest() == [None] * (len(hurried) + 8)  # those that went on come once more
    assert [asking.ask(deadline_seconds=5.0) for _ in range(20)] == [None] * 20


def test_a_try_outlives_the_deadline_of_the_request_that_it_is_made_of(begin):
    breaker = Breaker()
    for _ in range(MOST_FAILURES):
        breaker.failed(-100.0, was_try=False)
    go = threading.Event()

    def waits(connection, request):
        go.wait(patience.scaled(30))
        right(connection, request)

    _, asking = begin(waits, breaker=breaker)
    question = asking.ask(is_needed=True, deadline_seconds=0.01)
    assert asking.wait(question) is None
    go.set()
    assert asking.wait() is not None
    assert not breaker.is_open


@pytest.mark.parametrize("size", [8192, MOST_BYTES])
def test_an_answer_that_is_larger_than_any_is_not_read(begin, size):
    role, asking = begin(says(b'{"predictions": [' + b" " * size + b"[0, 0, 1]]}"))
    assert asking.answer() is None
    role.answer = says(b'{"predictions": [' + b" " * 1024 + b"[0, 0, 1]]}")
    assert json.loads(asking.answer()) == {"predictions": PREDICTIONS}


def test_a_device_that_can_start_no_thread_has_its_own_answer(begin, monkeypatch):
    role, asking = begin()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", _refused)
        assert [asking.ask() for _ in range(MOST_FAILURES - 1)] == [None] * (MOST_FAILURES - 1)
    assert role.asked == []
    assert asking.answer() is not None
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", _refused)
        questions = [asking.ask() for _ in range(3)]  # the thread that there is takes one after the other
        assert [asking.wait(it) is not None for it in questions] == [True] * 3


def _refused(*_: object) -> None:
    raise RuntimeError("can't start new thread")


def test_nobody_waits_for_a_cloud_that_is_away_until_it_answers_again(begin, monkeypatch):
    now = [0.0]
    breaker = Breaker(lambda: 0.5)
    may, failed = breaker.may, breaker.failed
    monkeypatch.setattr(breaker, "may", lambda _: may(now[0]))
    monkeypatch.setattr(breaker, "failed", lambda _, was_try: failed(now[0], was_try=was_try))
    role, asking = begin(hangs, timeout_seconds=0.1, breaker=breaker)
    for _ in range(MOST_FAILURES):
        assert asking.answer() is None
    assert [asking.ask() for _ in range(20)] == [None] * 20
    asked = len(role.asked)
    now[0] += 10.0
    assert asking.ask() is None  # a try, for which nobody waits
    assert asking.wait() is None
    assert len(role.asked) == asked + 1
    assert asking.ask() is None
    now[0] += 100.0
    role.answer = right
    assert asking.ask() is None
    assert asking.wait() is not None
    assert asking.answer() is not None


def test_who_has_nothing_else_waits_for_the_try(begin):
    breaker = Breaker()
    for _ in range(MOST_FAILURES):
        breaker.failed(-100.0, was_try=False)
    _, asking = begin(breaker=breaker)
    question = asking.ask(is_needed=True)
    assert question is not None
    assert asking.wait(question) is not None


def test_a_request_that_the_cloud_does_not_like_says_nothing_against_the_cloud(begin):
    _, asking = begin(says({"error": "no"}, 400))
    assert [asking.answer() for _ in range(2 * MOST_FAILURES)] == [None] * 2 * MOST_FAILURES


@pytest.mark.parametrize(
    "full",
    [
        says({"error": "full"}, 503, more="Retry-After: 5\r\n"),
        says({"error": "full"}, 429),
        says({"error": "full"}, 503, more=f"Retry-After: {'9' * 401}\r\n"),
        says({"error": "full"}, 503, more="Retry-After: -1\r\n"),
        says({"error": "full"}, 503, more="Retry-After: Wed, 21 Oct 2099 07:28:00 GMT\r\n"),
        says(b"x" * 100, 503, more="Retry-After: 5\r\nRetry-After: 1\r\n"),
    ],
    ids=["seconds", "too many requests", "ages", "in the past", "a date", "twice"],
)
def test_a_cloud_that_is_full_is_left_alone_and_asked_again_without_a_try(begin, monkeypatch, capfd, full):
    now, breaker = [0.0], Breaker(lambda: 0.5)
    may, said = breaker.may, breaker.full
    monkeypatch.setattr(breaker, "may", lambda _: may(now[0]))
    monkeypatch.setattr(breaker, "full", lambda _, seconds: said(now[0], seconds))
    role, asking = begin(full, breaker=breaker)
    assert asking.answer() is None
    assert [asking.ask(), asking.ask(is_needed=True)] * 10 == [None] * 20
    assert len(role.asked) == 1
    assert not breaker.is_open
    now[0] += 2 * MOST_PAUSE_SECONDS  # whatever it said
    role.answer = right
    assert json.loads(asking.answer()) == {"predictions": PREDICTIONS}  # somebody waits for it: nothing was broken
    lines = capfd.readouterr().err.splitlines()
    assert [it.partition(":")[0] for it in lines] == ["the cloud role is not asked for a while", "the cloud role answers again"]


def test_a_cloud_that_is_unavailable_and_says_no_more_is_broken(begin):
    breaker = Breaker()
    _, asking = begin(says({"error": "no"}, 503), breaker=breaker)
    assert [asking.answer() for _ in range(MOST_FAILURES)] == [None] * MOST_FAILURES
    assert breaker.is_open
    assert not breaker.is_full


def test_the_cloud_is_told_that_a_device_asks(begin):
    role, asking = begin()
    asking.answer()
    assert b"X-Isthmus-Asked-By: device\r\n" in role.heard


def test_what_is_said_about_the_cloud_shows_nothing_of_what_it_was_asked_or_said(begin, capfd):
    _, asking = begin(says(b"4.25 is secret"))
    for _ in range(MOST_FAILURES):
        asking.answer()
    assert capfd.readouterr().err == "the cloud role is not asked for a while: no JSON\n"


def certified(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server's side of TLS on loopback, and the file that makes it trusted."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cloud")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    file, both = folder / "ca.pem", folder / "both.pem"
    file.write_bytes(certificate)
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    both.write_bytes(certificate + key.private_bytes(*plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, str(file)


def test_a_cloud_over_tls_is_asked_if_it_is_who_it_says(begin, tmp_path):
    context, file = certified(tmp_path)
    role = CloudRole(right, context)
    try:
        trusting, careful = Asking(role, 20.0, ca_file=file), Asking(role, 20.0)
        assert [trusting.answer() is not None for _ in range(2)] == [True, True]
        assert role.connections == 1
        assert careful.answer() is None
        assert len(role.asked) == 2
        role.answer = hangs
        hurried = Asking(role, 0.3, ca_file=file)
        assert hurried.answer() is None
    finally:
        role.stop()


def test_a_probe_measures_the_round_trip_and_has_nothing_in_it(begin):
    role, asking = begin(with_status(right))
    assert math.isnan(asking.cloud.round_trip_ms())
    asking.cloud.probe("digits")
    asking.wait()
    assert 0 < asking.cloud.round_trip_ms() < patience.scaled(1000)
    (probe,) = role.asked
    assert (probe.method, probe.target, probe.body) == ("GET", "/base/v1/models/digits", b"")
    before = asking.cloud.round_trip_ms()
    assert asking.answer() is not None
    assert asking.cloud.round_trip_ms() == before  # of what is asked besides, nothing is measured


def test_there_is_room_for_as_many_questions_as_are_asked_at_once(begin):
    _, asking = begin(hangs, timeout_seconds=0.5)
    found = []
    for _ in range(9):
        found.append(asking.cloud.has_room())
        asking.ask()
    assert found == [True] * 8 + [False]
    asking.rest()
    assert asking.cloud.has_room()


@pytest.mark.parametrize("answer", [says(b"<html>Welcome to Hotel WiFi</html>"), says([]), says(b"7"), says({}, 404), hangs])
def test_what_answers_a_probe_as_no_cloud_role_does_is_away(begin, answer):
    role, asking = begin(answer, timeout_seconds=0.3)
    for _ in range(MOST_FAILURES):
        asking.cloud.probe("digits")
        asking.rest()
    assert asking.cloud.round_trip_ms() == math.inf
    asking.cloud.probe("digits")
    assert len(role.asked) == MOST_FAILURES  # nothing is asked during the pause


def test_a_probe_is_the_try_after_a_pause_and_a_full_cloud_is_not_probed(begin):
    class Soon(Breaker):
        def failed(self, now: float, *, was_try: bool) -> None:
            super().failed(now - 60, was_try=was_try)

    role, asking = begin(with_status(hangs), timeout_seconds=0.3, breaker=Soon())
    for _ in range(MOST_FAILURES):
        asking.answer()
    assert asking.cloud.round_trip_ms() == math.inf
    asking.cloud.probe("digits")
    asking.rest()
    assert asking.cloud.round_trip_ms() < math.inf
    role.answer = says({}, 503, more="Retry-After: 60\r\n")
    assert asking.answer() is None
    asked = len(role.asked)
    assert asking.cloud.round_trip_ms() == math.inf
    asking.cloud.probe("digits")
    assert asking.rest() == []
    assert len(role.asked) == asked
