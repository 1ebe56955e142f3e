"""What a device is asked stays on it: a pattern is sent in every form that it takes, and looked for in all that it sends and keeps."""

import base64
import gzip
import json
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from tests.isthmus_agent.bus.brokers import RunningBroker
from tests.isthmus_agent.clouds import PREDICTIONS, CloudRole, says, with_status
from tests.isthmus_agent.contents import halved_content, routed_content
from tests.isthmus_agent.living import DEVICE, FLEET, SECRET, Fleet, Living, digest_of
from tests.isthmus_agent.tapping import tapped
from tests.isthmus_agent.yard import Yard
from toolchain.testing import patience

from isthmus_agent.formats import report, samples, samples_wanted, x25519
from isthmus_agent.formats.answers import HEALTH_PATH, ROUTING_PATH
from isthmus_agent.formats.numbers import MILLION
from isthmus_agent.formats.samples import Object, Sample
from isthmus_agent.formats.samples_wanted import SamplesWanted

pytestmark = pytest.mark.slow

NUMBERS = [0.71828182, -1.41421356, 0.57721566, -2.23606797]
WORD = "canary-9f3b27c4d1"
PRIVATE = b"the owner's private key, 32 bytes"[:32]
PUBLIC = x25519.public_of(PRIVATE)
BINARY = struct.pack("<4f", *NUMBERS)
PREDICT = "POST /v1/models/digits:predict HTTP/1.1"


def forms() -> Mapping[str, bytes]:
    """How the pattern may look: as text, as floats of both sizes and orders, and each of these in base64, wherever it begins."""
    plain = {f"{number:.6f}"[:8]: f"{number:.6f}"[:8].encode() for number in NUMBERS} | {"word": WORD.encode()}
    plain |= {layout: struct.pack(layout, *NUMBERS) for layout in ("<4f", ">4f", "<4d", ">4d")}
    plain |= {f"{layout}[{index}]": struct.pack(layout, it) for layout in ("<d", ">d") for index, it in enumerate(NUMBERS)}
    packed = {}
    for name, content in plain.items():
        if len(content) > 6:
            for shift in range(3):
                # All characters that the content alone decides, ten at least: fewer are in somebody's key by chance.
                inner = base64.b64encode(b"\0" * shift + content)[-(-8 * shift // 6) : 8 * (shift + len(content)) // 6]
                packed[f"{name} in base64, {shift}"] = inner
                packed[f"{name} in base64url, {shift}"] = inner.replace(b"+", b"-").replace(b"/", b"_")
    return plain | packed


def found_in(content: bytes) -> list[str]:
    """The forms that are in it."""
    looked = (content, unquote_to_bytes(content), content.lower())
    return [name for name, form in forms().items() if any(form in it for it in looked)]


def request(line: str, body: bytes, *headers: str) -> bytes:
    head = [line, "Host: x", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    head = f"{PREDICT}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n"
    return head.encode() + body + b"\r\n0\r\n\r\n"


ROWS = json.dumps({"instances": [NUMBERS]}).encode()
B64 = {"b64": base64.b64encode(BINARY).decode()}
ASKED: dict[str, bytes] = {
    "rows": request(PREDICT, ROWS),
    "columns": request(PREDICT, json.dumps({"inputs": {"x": [NUMBERS]}}).encode()),
    "many rows": request(PREDICT, json.dumps({"instances": [NUMBERS] * 100}).encode()),
    "compressed": request(PREDICT, gzip.compress(ROWS), "Content-Encoding: gzip"),
    "in chunks": chunked(ROWS),
    "in base64": request(PREDICT, json.dumps({"instances": [B64]}).encode()),
    "binary": request(PREDICT, BINARY),
    "too short": request(PREDICT, json.dumps({"instances": [NUMBERS[:3]]}).encode()),
    "of two lengths": request(PREDICT, json.dumps({"instances": [NUMBERS, NUMBERS[:1]]}).encode()),
    "text": request(PREDICT, json.dumps({"instances": [[WORD, *map(str, NUMBERS)]]}).encode()),
    "an unknown input": request(PREDICT, json.dumps({"inputs": {WORD: [NUMBERS]}}).encode()),
    "an unknown signature": request(PREDICT, json.dumps({"signature_name": WORD, "instances": [NUMBERS]}).encode()),
    "half a document": request(PREDICT, ROWS[:-3] + WORD.encode()),
    "nested too deeply": request(PREDICT, b'{"instances": ' + b"[" * 5000 + ROWS),
    "too large": request(PREDICT, ROWS).replace(b"Content-Length: ", b"Content-Length: 9999999"),
    "a large number": request(PREDICT, json.dumps({"instances": [[*NUMBERS[:3], 1e300]]}).encode()),
    "another model": request(f"POST /v1/models/{WORD}:predict HTTP/1.1", ROWS),
    "another version": request("POST /v1/models/digits/versions/7:predict HTTP/1.1", ROWS),
    "a label": request(f"POST /v1/models/digits/labels/{WORD}:predict HTTP/1.1", ROWS),
    "a query": request(f"POST /v1/models/digits:predict?{WORD} HTTP/1.1", ROWS),
    "a header": request(PREDICT, ROWS, f"X-{WORD}: {WORD}", f"Authorization: Bearer {WORD}"),
    "a header that is none": request(PREDICT, ROWS, f"{WORD} {WORD}"),
    "no HTTP": WORD.encode() + b"\r\n\r\n" + BINARY,
    "a method": request(f"{WORD.upper()} /v1/models/digits:predict HTTP/1.1", ROWS),
    "classify": request("POST /v1/models/digits:classify HTTP/1.1", ROWS),
}


def ask(device: Living, content: bytes, ends: bool = False) -> bytes:
    """The answer. ends: the client goes away before."""
    parts = urlsplit(device.url)
    with socket.create_connection((parts.hostname, parts.port), patience.scaled(30)) as connection:
        connection.sendall(content)
        found = b""
        with suppress(OSError):
            while not ends and (more := connection.recv(65536)):
                found += more
    return found


def ask_all(device: Living) -> None:
    for content in ASKED.values():
        ask(device, content)
        ask(device, content[:-1], ends=True)


def children(device: Living) -> list[int]:
    """The processes that it has started."""
    assert device.process is not None
    tasks = Path(f"/proc/{device.process.pid}/task").iterdir()
    return [int(it) for task in tasks for it in (task / "children").read_text().split()]


def kept_by(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all that lies below a folder."""
    for path in folder.rglob("*"):
        yield str(path), path.name.encode()
        if path.is_file():
            yield str(path), path.read_bytes()


def test_the_forms_that_are_looked_for_are_those_that_are_sent():
    assert [name for name, content in ASKED.items() if not found_in(content)] == ["compressed"]
    for layout in ("<4f", ">4d"):
        for before in range(3):
            assert found_in(base64.urlsafe_b64encode(b"x" * before + struct.pack(layout, *NUMBERS) + b"yz"))


def test_nothing_that_a_device_is_asked_is_in_what_it_sends_or_keeps(
    fleet: Fleet, device: Living, content: Callable[..., bytes], tmp_path: Path
):
    endpoint, _, bucket = fleet.http.url.removeprefix("http://").partition("/")
    with tapped(f"http://{endpoint}") as tap:
        device.changes = {"store": {"endpoint": tap.url, "bucket": bucket.rstrip("/"), "prefix": "edge/"}, "heartbeat_seconds": 1}
        device.start()
        ask_all(device)  # while there is nothing
        number = fleet.tell(content(1))
        fleet.await_outcome(number, "confirmed")
        assert b"predictions" in ask(device, ASKED["rows"])
        ask_all(device)
        (server,) = children(device)
        half = socket.create_connection((urlsplit(device.url).hostname, urlsplit(device.url).port))
        half.sendall(ASKED["rows"][:-5])
        os.kill(server, signal.SIGSEGV)  # what was half here is in its memory
        device.await_served(content(1))
        half.close()
        ask_all(device)
        fleet.await_outcome(fleet.tell(content(2), old=content(1)), "confirmed")
        ask_all(device)
        told = len(fleet.http.requests)
        patience.wait_until(lambda: len(fleet.http.requests) > told + 3)
        of_itself = [ask(device, request(f"GET {path} HTTP/1.1", b"")) for path in (HEALTH_PATH, ROUTING_PATH)]
        assert device.stop() == 0
        sent = [bytes(it) for it in tap.sent]
    assert b'"here":' in of_itself[1]
    assert sum(map(len, sent)) > 5_000
    assert [found for it in [*sent, *of_itself] if (found := found_in(it))] == []
    places = {
        **{f"object {key}": key.encode() + b"\n" + body for key, body in fleet.store.objects.items()},
        **dict(kept_by(device.folder)),
        "log": (tmp_path / "device.log").read_bytes(),
    }
    assert any("slots" in it for it in places)
    assert {name: found for name, it in places.items() if (found := found_in(it))} == {}
    assert fleet.store.list("edge/samples/") == []


def test_with_consent_the_owners_key_opens_what_was_asked_and_nothing_else_shows_it(
    fleet: Fleet, device: Living, content: Callable[..., bytes], tmp_path: Path
):
    wanted = SamplesWanted(PUBLIC, MILLION, samples_wanted.MOST_PER_DAY)
    endpoint, _, bucket = fleet.http.url.removeprefix("http://").partition("/")
    never = request(PREDICT, json.dumps({"instances": [[9.5, *NUMBERS[1:]]]}).encode(), "X-Isthmus-Sample: never")
    with tapped(f"http://{endpoint}") as tap:
        device.changes = {"store": {"endpoint": tap.url, "bucket": bucket.rstrip("/"), "prefix": "edge/"}, "heartbeat_seconds": 1}
        device.start()
        fleet.await_outcome(fleet.tell(content(1), samples=wanted), "confirmed")

        def sampled() -> list[Sample]:
            assert b"predictions" in ask(device, never) + ask(device, ASKED["compressed"])
            return samples_of(fleet)

        patience.wait_until(lambda: len(sampled()) >= 2)
        assert device.stop() == 0
        sent = [bytes(it) for it in tap.sent]
    opened = samples_of(fleet)
    assert {(it.request, it.digest, it.model, it.status) for it in opened} == {(ROWS, digest_of(content(1)), "digits", 200)}
    assert all(b"predictions" in it.answer and it.minutes > 29_000_000 and it.confidence_millionths for it in opened)
    assert sum(map(len, sent)) > 5_000
    assert [found for it in sent if (found := found_in(it))] == []
    places = {
        **{f"object {key}": key.encode() + b"\n" + body for key, body in fleet.store.objects.items()},
        **dict(kept_by(device.folder)),
        "log": (tmp_path / "device.log").read_bytes(),
    }
    assert {name: found for name, it in places.items() if (found := found_in(it))} == {}

    before, device.changes = fleet.store.list("edge/samples/"), {"samples": "never", "heartbeat_seconds": 1}
    device.start()
    device.await_served(content(1))
    told = len(fleet.http.requests)
    patience.wait_until(lambda: ask(device, ASKED["rows"]) and len(fleet.http.requests) > told + 8)
    assert device.told()["samples"] is None
    assert fleet.store.list("edge/samples/") == before


def samples_of(fleet: Fleet) -> list[Sample]:
    """What the device has sent, opened."""
    key, found = report.device_key(SECRET, FLEET, DEVICE, 1), []
    for name in fleet.store.list("edge/samples/"):
        batch = Object(samples.origin_of(name, "edge/", FLEET), fleet.store.get(name, max_bytes=samples.MOST_OBJECT_BYTES))
        assert batch.is_by(key)
        found += batch.opened(partial(x25519.shared, PRIVATE), PUBLIC)
    return found


def test_the_same_look_finds_what_goes_to_the_cloud_where_that_was_chosen(fleet: Fleet, device: Living, content: Callable[..., bytes]):
    role = CloudRole(says({"predictions": PREDICTIONS}))
    try:
        with tapped(role.url) as tap:
            device.changes = {"fallback": {"url": tap.url, "min_confidence": 1.0, "timeout_ms": 20_000}}
            device.start()
            assert b"X-Isthmus-Answered-By: cloud\r\n" in ask(device, ASKED["rows"])  # while there is nothing
            assert found_in(bytes(tap.sent[-1]))
            number = fleet.tell(content(1))
            fleet.await_outcome(number, "confirmed")
            asked = len(role.asked)
            assert b"X-Isthmus-Answered-By: cloud\r\n" in ask(device, ASKED["a header"])
            assert len(role.asked) == asked + 1
            here = request(PREDICT, ROWS, "X-Isthmus-Answer-By: device")
            assert b"X-Isthmus-Answered-By: device\r\n" in ask(device, here)
            assert len(role.asked) == asked + 1
            assert WORD.encode() not in b"".join(map(bytes, tap.sent))  # no header of a client is passed on
    finally:
        role.stop()


def test_no_policy_takes_anything_from_a_device_that_asks_nobody_and_probes_carry_nothing(fleet: Fleet, device: Living):
    """The policy says `cloud` in every state."""
    role = CloudRole(with_status(says({"predictions": PREDICTIONS})))
    routed = routed_content(("device", "cloud"), (1,) * 8, step_ms=1)
    here = request(PREDICT, ROWS, "X-Isthmus-Answer-By: device")
    try:
        with tapped(role.url) as tap:
            device.changes = {"heartbeat_seconds": 1}
            device.start()
            fleet.await_outcome(fleet.tell(routed), "confirmed")
            assert {b"X-Isthmus-Answered-By: device\r\n" in ask(device, ASKED["rows"]) for _ in range(4)} == {True}
            assert device.stop() == 0
            device.changes = {"fallback": {"url": tap.url, "min_confidence": 0, "timeout_ms": 20_000, "policy": "as_signed"}}
            device.start()
            device.await_served(routed)
            assert {b"X-Isthmus-Answered-By: device\r\n" in ask(device, here) for _ in range(4)} == {True}
            assert tap.sent == []
            patience.wait_until(lambda: b"X-Isthmus-Answered-By: cloud\r\n" in ask(device, ASKED["a header"]))
            probes = [it for it in role.asked if it.method == "GET"]
            assert {(it.target, it.body) for it in probes} == {("/v1/models/digits", b"")}
            assert WORD.encode() not in b"".join(map(bytes, tap.sent))
    finally:
        role.stop()


def test_nothing_goes_to_a_peer_that_may_not_and_a_peer_keeps_nothing_of_what_may(fleet: Fleet, tmp_path: Path):
    """The policy says `peer:big` in every state. The bus is listened to, which has no TLS here."""
    (tmp_path / "broker").mkdir()
    broker = RunningBroker("amqtt", tmp_path / "broker")
    broker.start()
    yard = Yard(fleet, broker, None, tmp_path)
    fleet.tell(routed_content(("device", "peer:big"), (1,) * 8, step_ms=1))
    here = request(PREDICT, ROWS, "X-Isthmus-Answer-By: device")
    pace = {"heartbeat_seconds": 1}
    try:
        with tapped(f"mqtt://127.0.0.1:{broker.port}") as tap:
            port = tap.listener.getsockname()[1]
            yard.join("b", device_class="big", more=pace)
            device = yard.join("a", device_class="small", more=pace, port=port, inputs="stay_on_device")
            yard.wait("a", lambda it: it["members"] == ["b"] and it["offers_per_1000_seconds"])
            ask_all(device)
            gate = yard.gate("a")
            assert gate.ask("/streams/camera/v1/models/digits:predict", [NUMBERS])[0] == 200
            assert gate.ask("/peers/big/v1/models/digits:predict", [NUMBERS])[0] == 403
            assert device.stop() == 0
            device = yard.join("a", device_class="small", more=pace, port=port)
            yard.wait("a", lambda it: it["members"] == ["b"] and it["offers_per_1000_seconds"])
            assert {b"X-Isthmus-Answered-By: device\r\n" in ask(device, here) for _ in range(4)} == {True}
            sent = [bytes(it) for it in tap.sent]
            assert sum(map(len, sent)) > 500
            assert [found for it in sent if (found := found_in(it))] == []
            patience.wait_until(lambda: b"X-Isthmus-Answered-By: peer\r\n" in ask(device, ASKED["a header"]))
            assert any(found_in(bytes(it)) for it in tap.sent)
            assert WORD.encode() not in b"".join(map(bytes, tap.sent))  # no header of a client is passed on
            ask_all(device)
            told = len(fleet.http.requests)
            patience.wait_until(lambda: len(fleet.http.requests) > told + 4)
            assert [it.stop() for it in yard.devices.values()] == [0, 0]
        places = {
            **{f"object {key}": key.encode() + b"\n" + body for key, body in fleet.store.objects.items()},
            **dict(kept_by(tmp_path / "a")),
            **dict(kept_by(tmp_path / "b")),
            **{name: (tmp_path / name).read_bytes() for name in ("a.log", "b.log")},
        }
        assert {name: found for name, it in places.items() if (found := found_in(it))} == {}
    finally:
        yard.close()
        broker.kill()


def test_counts_are_told_where_that_is_signed_and_the_device_may_refuse(fleet: Fleet, device: Living, content: Callable[..., bytes]):
    device.changes = {"heartbeat_seconds": 1}
    device.start()
    fleet.await_outcome(fleet.tell(content(1)), "confirmed")
    assert device.told()["counts"] == {"told_to_owner": False, "sent": 0, "fails": None}
    fleet.await_outcome(fleet.tell(content(2), counts=True), "confirmed")
    assert device.told()["counts"]["told_to_owner"]
    device.stop()
    device.changes = {"counts": "never", "heartbeat_seconds": 1}
    device.start()
    fleet.await_outcome(fleet.tell(content(3), counts=True), "confirmed")
    assert not device.told()["counts"]["told_to_owner"]
    assert fleet.store.list("edge/health/counts/") == []


def test_what_a_network_makes_of_what_a_device_is_asked_stays_on_it_as_that_does(fleet: Fleet, device: Living):
    """Features count as data: without a cloud role to ask, and without being told that halves may be asked, none is sent."""
    role = CloudRole(with_status(says({"predictions": PREDICTIONS})))
    halves = halved_content()
    try:
        with tapped(role.url) as tap:
            device.changes = {"heartbeat_seconds": 1}
            device.start()
            fleet.await_outcome(fleet.tell(halves), "confirmed")
            for fallback in (None, {"url": tap.url, "min_confidence": 0, "timeout_ms": 20_000}):
                assert device.stop() == 0
                device.changes = {} if fallback is None else {"fallback": fallback}
                device.start()
                device.await_served(halves)
                assert {b"X-Isthmus-Answered-By: cloud\r\n" in ask(device, ASKED["rows"]) for _ in range(4)} == {False}
                assert tap.sent == []
            assert device.stop() == 0
            device.changes = {"fallback": {"url": tap.url, "min_confidence": 0, "timeout_ms": 20_000, "halves": "as_signed"}}
            device.start()
            device.await_served(halves)
            here = request(PREDICT, ROWS, "X-Isthmus-Answer-By: device")
            assert {b"predictions" in ask(device, here) for _ in range(4)} == {True}
            assert tap.sent == []
            patience.wait_until(lambda: ask(device, ASKED["a header"]) and any(it.method == "POST" for it in role.asked))
            (body, *_) = [json.loads(it.body) for it in role.asked if it.method == "POST"]
            assert (body.keys(), body["signature_name"]) == ({"signature_name", "instances"}, "tail_1")
            assert WORD.encode() not in b"".join(map(bytes, tap.sent))
    finally:
        role.stop()
