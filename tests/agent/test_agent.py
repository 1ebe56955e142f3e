"""Agents as processes, against a real store."""

import json
import shutil
import signal
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import requests
from toolchain.testing import patience

from isthmus.release import bundle, fleet, signing
from isthmus.release.manifest import Release
from isthmus.release.store import Store

pytestmark = pytest.mark.slow

ROWS = [[1.0, 0.5, 0.25, 0.0], [0.0, 0.0, 1.0, 1.0]]
PREFIX = "fleets/cameras/"
Make = Callable[..., Any]


@pytest.fixture
def other_weights(tiny_model: ModuleType) -> np.ndarray:
    """A model that answers differently."""
    return np.roll(tiny_model.WEIGHTS, 1, axis=0)


def key_of(release: Release, path: str) -> str:
    return f"{PREFIX}bundles/{release.digest.removeprefix('sha256:')}/{path}"


def test_an_agent_fetches_serves_and_reports_its_target(cameras: Any, make_agent: Make, make_release: Make, tiny_model: ModuleType) -> None:
    agent = make_agent().start()
    health = requests.get(f"{agent.url}/healthz", timeout=5).json()
    assert health == {"device": "camera-1", "fleet": "cameras", "model": "digits", "state": "empty", "digest": None, "version": None}
    assert agent.predict(ROWS).status_code == 503
    assert cameras.report() is None
    release = make_release(version=7)
    target = cameras.roll_out(release)
    report = cameras.settled(target)
    assert report.confirms(target), report
    assert report.endpoint == agent.url
    wanted = tiny_model.answer(ROWS)
    rows = agent.predict(ROWS)
    assert rows.status_code == 200
    assert rows.headers["X-Isthmus-Answered-By"] == "device"
    assert np.allclose(rows.json()["predictions"], wanted, atol=1e-5)
    columns = requests.post(f"{agent.url}/v1/models/digits/versions/7:predict", json={"inputs": {tiny_model.INPUT: ROWS}}, timeout=5)
    assert np.allclose(columns.json()["outputs"], wanted, atol=1e-5)
    status = requests.get(f"{agent.url}/v1/models/digits", timeout=5).json()
    assert status["model_version_status"][0] == {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    metadata = requests.get(f"{agent.url}/v1/models/digits/metadata", timeout=5).json()
    assert tiny_model.INPUT in metadata["metadata"]["signature_def"]["signature_def"][tiny_model.SIGNATURE]["inputs"]


def test_a_new_target_is_switched_to_without_a_failed_request(
    cameras: Any, make_agent: Make, make_release: Make, other_weights: np.ndarray, eventually: Make
) -> None:
    agent = make_agent().start()
    first, second = make_release(), make_release(other_weights, version=2)
    cameras.settled(cameras.roll_out(first))
    target = cameras.roll_out(second)
    answers = []
    eventually(lambda: answers.append(agent.predict(ROWS)) or agent.serves(second))
    assert {answer.status_code for answer in answers} == {200}
    assert cameras.settled(target).state == "serving"
    slots = {slot.name for slot in Path(agent.config["state_directory"], "slots").iterdir()}
    assert slots == {release.digest.removeprefix("sha256:") for release in (first, second)}
    third = make_release(version=3)
    cameras.settled(cameras.roll_out(third))
    slots = {slot.name for slot in Path(agent.config["state_directory"], "slots").iterdir()}
    assert slots == {release.digest.removeprefix("sha256:") for release in (second, third)}


def _damaged_file(store: Store, release: Release) -> None:
    key = key_of(release, "edge/model.tflite.zlib")
    content = bytearray(zlib.decompress(store.get(key, max_bytes=1 << 20)))
    content[100] ^= 1
    store.put(key, zlib.compress(bytes(content)))


def _stranger_s_signature(store: Store, release: Release) -> None:
    stranger = signing.generate_key()
    store.put(key_of(release, "manifest.dsse.json"), signing.sign(bundle.MANIFEST_TYPE, release.manifest.to_bytes(), stranger.private_pem))


def _missing_file(store: Store, release: Release) -> None:
    store.delete([key_of(release, "golden.json.zlib")])


TAMPERED = {
    "wrong content: edge/model.tflite": _damaged_file,
    "wrong signature": _stranger_s_signature,
    "not whole": _missing_file,
}


def test_a_bundle_that_was_tampered_with_is_refused_and_what_was_served_stays(
    cameras: Any, make_agent: Make, make_release: Make, other_weights: np.ndarray
) -> None:
    agent = make_agent().start()
    good, bad = make_release(), make_release(other_weights, version=2)
    cameras.settled(cameras.roll_out(good))
    before = agent.predict(ROWS).json()
    for reason, damage in TAMPERED.items():
        bundle.publish(cameras.store, PREFIX, bad, cameras.keys.private_pem)
        damage(cameras.store, bad)
        report = cameras.settled(cameras.aim(bad.digest))
        assert report.state == "refused"
        assert reason in report.reason
        assert report.serving_digest == good.digest
        assert agent.predict(ROWS).json() == before
        bundle.remove(cameras.store, PREFIX, bad.digest)
    # Whole again, and asked for again, it is taken: the refusals were about the content.
    assert cameras.settled(cameras.roll_out(bad)).state == "serving"
    assert agent.predict(ROWS).json() != before


def test_a_release_whose_digest_is_not_the_target_s_is_refused(
    cameras: Any, store: Store, make_agent: Make, make_release: Make, other_weights: np.ndarray
) -> None:
    agent = make_agent().start()
    good, old = make_release(), make_release(other_weights)
    cameras.settled(cameras.roll_out(good))
    wanted = "sha256:" + "0" * 64
    bundle.publish(store, PREFIX, old, cameras.keys.private_pem)
    envelope = store.get(key_of(old, "manifest.dsse.json"), max_bytes=1 << 20)
    store.put(f"{PREFIX}bundles/{'0' * 64}/manifest.dsse.json", envelope)
    report = cameras.settled(cameras.aim(wanted))
    assert (report.state, report.serving_digest) == ("refused", good.digest)
    assert "wrong digest" in report.reason
    assert agent.serves(good)


# Signed and whole, and wrong all the same: arguments of make_release, and what the reason must say.
UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "golden mismatch": ({"golden_weights": np.zeros((3, 4), np.float32)}, "an answer is off by"),
    "not a flatbuffer": ({"content": b"this is no flatbuffer"}, "the interpreter cannot load"),
    "corrupt flatbuffer": ({"content": b"\x1c\x00\x00\x00TFL3" + b"\xff" * 200}, "self-test|interpreter"),
    "golden of another shape": ({"golden": {"inputs": {"x": [[1.0]]}, "outputs": {"probabilities": [[1.0]]}}}, "get no answer"),
    "golden unreadable": ({"golden": ["nonsense"]}, "golden vectors cannot be read"),
    "golden empty": ({"golden": {"inputs": {"x": []}, "outputs": {"probabilities": []}}}, "golden vectors"),
}


def test_a_signed_release_that_does_not_work_here_is_refused_and_what_was_served_stays(
    cameras: Any, make_agent: Make, make_release: Make
) -> None:
    agent = make_agent().start()
    good = make_release()
    cameras.settled(cameras.roll_out(good))
    for name, (bad, reason) in UNFIT.items():
        report = cameras.settled(cameras.roll_out(make_release(**bad)))
        assert (report.state, report.serving_digest) == ("refused", good.digest), name
        assert any(text in report.reason for text in reason.split("|")), (name, report.reason)
        assert agent.is_alive()
        assert agent.predict(ROWS).status_code == 200


def test_a_first_release_that_is_refused_leaves_the_device_empty_and_alive(cameras: Any, make_agent: Make, make_release: Make) -> None:
    agent = make_agent().start()
    report = cameras.settled(cameras.roll_out(make_release(content=b"nothing")))
    assert (report.state, report.serving_digest) == ("refused", "")
    refused = agent.predict(ROWS)
    assert refused.status_code == 503
    assert "no release" in refused.json()["error"]


def test_an_older_target_that_is_played_back_is_ignored_also_after_a_restart(
    cameras: Any, make_agent: Make, make_release: Make, other_weights: np.ndarray, eventually: Make
) -> None:
    agent = make_agent().start()
    old, new = make_release(), make_release(other_weights, version=2)
    cameras.settled(cameras.roll_out(old))
    recorded = cameras.store.get(PREFIX + fleet.TARGET_NAME, max_bytes=1 << 16)
    target = cameras.roll_out(new)
    cameras.settled(target)
    cameras.store.put(PREFIX + fleet.TARGET_NAME, recorded)
    eventually(lambda: "attempt 1" in agent.log and "ignored" in agent.log)
    assert agent.serves(new)
    agent.stop()
    shutil.rmtree(Path(agent.config["state_directory"]) / "slots" / old.digest.removeprefix("sha256:"))
    agent.start()
    assert cameras.settled(target).state == "serving"
    assert agent.serves(new)
    # The negative control: a device that has forgotten what it saw follows the old target.
    agent.stop()
    (Path(agent.config["state_directory"]) / "seen.json").unlink()
    agent.start()
    eventually(lambda: agent.serves(old))


def test_a_target_that_is_not_signed_by_the_trusted_key_is_refused_with_the_reason_and_what_was_served_stays(
    cameras: Any, make_agent: Make, make_release: Make, other_weights: np.ndarray, eventually: Make
) -> None:
    agent = make_agent().start()
    good, other = make_release(), make_release(other_weights)
    target = cameras.roll_out(good)
    cameras.settled(target)
    stranger = signing.generate_key()
    bundle.publish(cameras.store, PREFIX, other, stranger.private_pem)
    forged = replace(target, attempt=9, digest=other.digest)
    fleet.publish_target(cameras.store, PREFIX, forged, stranger.private_pem, fleet.target_tag(cameras.store, PREFIX))
    refusal = eventually(lambda: (report := cameras.report()) and report.answers(forged) and report)
    assert refusal.state == "refused"
    assert "wrong signature" in refusal.reason
    assert refusal.serving_digest == good.digest
    assert agent.serves(good)
    # What the forged target claimed is forgotten as soon as there is an honest one again, even of the same name.
    # The bundle comes first, as always: of a target without one an agent that looks just then says so once and for all.
    bundle.publish(cameras.store, PREFIX, other, cameras.keys.private_pem)
    fleet.publish_target(cameras.store, PREFIX, forged, cameras.keys.private_pem, fleet.target_tag(cameras.store, PREFIX))
    eventually(lambda: cameras.report().confirms(forged))


def test_a_target_for_others_is_refused(cameras: Any, make_agent: Make, make_release: Make, eventually: Make) -> None:
    make_agent().start()
    release = make_release()
    for what, other in {"fleet": "ovens", "model": "letters"}.items():
        attempt = cameras.roll_out(release, **{what: other}).attempt
        eventually(lambda attempt=attempt: (r := cameras.report()) and (r.attempt, r.state) == (attempt, "refused"))
        assert other in cameras.report().reason


def test_after_a_restart_a_device_serves_without_the_store(
    cameras: Any, make_agent: Make, make_release: Make, eventually: Make, seaweedfs: ModuleType
) -> None:
    agent = make_agent().start()
    release = make_release()
    cameras.settled(cameras.roll_out(release))
    answer = agent.predict(ROWS).json()
    assert agent.stop(signal.SIGKILL) == -signal.SIGKILL
    (nowhere,) = seaweedfs.free_ports(1)
    agent.config["store"] = {**agent.config["store"], "endpoint": f"http://127.0.0.1:{nowhere}"}
    agent.start()
    eventually(lambda: agent.serves(release))
    assert agent.predict(ROWS).json() == answer
    eventually(lambda: "cannot reach the store" in agent.log)
    began = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - began < patience.scaled(10)


def test_a_store_that_goes_away_and_comes_back_is_followed_again(
    cameras: Any, store_server: Any, make_agent: Make, make_release: Make, eventually: Make
) -> None:
    agent = make_agent().start()
    first, second = make_release(), make_release(version=2)
    cameras.settled(cameras.roll_out(first))
    store_server.stop()
    try:
        eventually(lambda: "cannot reach the store" in agent.log)
        assert agent.predict(ROWS).status_code == 200
    finally:
        store_server.start()
    assert cameras.settled(cameras.roll_out(second)).state == "serving"
    assert agent.serves(second)


def test_a_slot_that_was_damaged_while_the_agent_was_away_is_not_served_and_fetched_again(
    cameras: Any, make_agent: Make, make_release: Make, other_weights: np.ndarray, eventually: Make
) -> None:
    agent = make_agent().start()
    first, second = make_release(), make_release(other_weights)
    cameras.settled(cameras.roll_out(first))
    target = cameras.roll_out(second)
    cameras.settled(target)
    agent.stop()
    file = Path(agent.config["state_directory"]) / "current" / "edge" / "model.tflite"
    file.write_bytes(file.read_bytes()[:-4])
    agent.start()
    eventually(lambda: agent.serves(second))
    assert "the current release cannot be served: wrong content" in agent.log
    assert cameras.settled(target).state == "serving"
    assert file.stat().st_size == second.manifest.variants[0].size_bytes


def test_a_stop_takes_the_report_back_and_a_restart_brings_it_again(cameras: Any, make_agent: Make, make_release: Make) -> None:
    agent = make_agent().start()
    target = cameras.roll_out(make_release())
    cameras.settled(target)
    began = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - began < patience.scaled(10)
    assert cameras.report() is None
    agent.start()
    assert cameras.settled(target).confirms(target)


def test_the_report_goes_when_the_target_goes(cameras: Any, store: Store, make_agent: Make, make_release: Make, eventually: Make) -> None:
    agent = make_agent().start()
    release = make_release()
    cameras.settled(cameras.roll_out(release))
    store.delete([PREFIX + fleet.TARGET_NAME])
    eventually(lambda: cameras.report() is None)
    assert agent.serves(release)


def test_the_report_counts_requests(cameras: Any, make_agent: Make, make_release: Make, eventually: Make) -> None:
    agent = make_agent().start()
    cameras.settled(cameras.roll_out(make_release()))
    for _ in range(3):
        agent.predict(ROWS)
    assert agent.predict([[1.0]]).status_code == 400
    report = eventually(lambda: ((r := cameras.report()) and r.requests == 4 and r) or None)
    assert (report.answered_by_device, report.answered_by_cloud, report.errors) == (3, 0, 1)


def test_refusals_have_tensorflow_serving_s_form(cameras: Any, make_agent: Make, make_release: Make) -> None:
    agent = make_agent().start()
    cameras.settled(cameras.roll_out(make_release()))
    calls = [
        ("GET", "/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("POST", "/v1/models/nope:predict", 404, "Servable not found for request: Latest(nope)"),
        ("POST", "/v1/models/digits/versions/9:predict", 404, "Servable not found for request: Specific(digits, 9)"),
        ("POST", "/v1/models/digits/labels/stable:predict", 400, "Unrecognized servable version label: stable"),
        ("POST", "/v1/models/digits:predict", 400, "JSON Parse error: The document is empty"),
        ("POST", "/v1/models/digits:classify", 400, "Expected classification signature"),
        ("GET", "/v1/nothing", 400, "Malformed request: GET /v1/nothing"),
    ]
    for method, path, status, text in calls:
        reply = requests.request(method, agent.url + path, timeout=5)
        assert (reply.status_code, reply.headers["Content-Type"]) == (status, "application/json"), path
        assert reply.json()["error"].startswith(text)
    assert requests.get(f"{agent.url}/elsewhere", timeout=5).status_code == 404
    assert agent.predict([[1.0, 2.0]]).json()["error"] == "input 'x' has shape [1,2], expected [-1,4]"


def test_no_secret_is_in_the_log_or_the_state(cameras: Any, make_agent: Make, make_release: Make) -> None:
    agent = make_agent().start()
    cameras.settled(cameras.roll_out(make_release()))
    agent.stop()
    texts = [
        agent.log,
        *(path.read_bytes().decode("latin-1") for path in Path(agent.config["state_directory"]).rglob("*") if path.is_file()),
    ]
    for secret in ("access_key", "secret_key"):
        assert not any(agent.config["store"][secret] in text for text in texts)
    assert json.loads((Path(agent.config["state_directory"]) / "seen.json").read_text())["attempt"] == 1
