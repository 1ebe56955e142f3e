import json
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolchain.testing import patience

from isthmus.errors import IntegrityError
from isthmus.release import fleet, signing
from isthmus.release.fleet import Report, Target
from isthmus.release.signing import KeyPair
from isthmus.release.store import Store

PREFIX = "fleets/cameras/"
DIGEST = "sha256:" + "a" * 64
TARGET = Target("cameras", 3, DIGEST, "digits")
REPORT = Report("camera-1", "cameras", DIGEST, 3, "serving", serving_digest=DIGEST, heartbeat_seconds=1.0)


@given(st.builds(Target, st.text(), st.integers(0), st.text(), st.text()))
def test_a_target_is_read_as_it_was_written(target: Target) -> None:
    assert Target.from_bytes(target.to_bytes()) == target


@given(
    st.builds(
        Report, st.text(), st.text(), st.text(), st.integers(0, 2**53 - 1), st.sampled_from(["starting", "serving", "refused"]), st.text()
    )
)
def test_a_report_is_read_as_it_was_written(report: Report) -> None:
    assert Report.from_bytes(report.to_bytes()) == report


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"state": "fine"},
        {"attempt": "3"},
        {"attempt": True},
        {"attempt": -1},
        {"attempt": 10**400},
        {"device": None},
        {"requests": 1.5},
        {"state": []},
    ],
)
def test_a_document_of_another_form_is_refused(change: dict[str, object]) -> None:
    document = {**json.loads(REPORT.to_bytes()), **change}
    with pytest.raises(IntegrityError):
        Report.from_bytes(json.dumps(document).encode())


def test_the_target_is_read_by_who_has_the_public_key(store: Store, keys: KeyPair) -> None:
    assert fleet.read_target(store, PREFIX, keys.public_pem) is None
    fleet.publish_target(store, PREFIX, TARGET, keys.private_pem, fleet.target_tag(store, PREFIX))
    assert fleet.read_target(store, PREFIX, keys.public_pem) == TARGET
    with pytest.raises(IntegrityError, match="wrong signature"):
        fleet.read_target(store, PREFIX, signing.generate_key().public_pem)


def test_a_signed_document_of_another_kind_is_no_target(store: Store, keys: KeyPair) -> None:
    store.put(PREFIX + fleet.TARGET_NAME, signing.sign("application/vnd.isthmus.manifest+json", TARGET.to_bytes(), keys.private_pem))
    with pytest.raises(IntegrityError, match="of type"):
        fleet.read_target(store, PREFIX, keys.public_pem)


def test_reports_are_read_by_device_and_the_silent_ones_left_out(store: Store) -> None:
    fleet.write_report(store, PREFIX, REPORT)
    fleet.write_report(store, PREFIX, replace(REPORT, device="camera-2", state="refused", reason="wrong digest"))
    store.put(f"{PREFIX}reports/camera-3.json", b"not a report")
    store.put(f"{PREFIX}reports/camera-4.json", REPORT.to_bytes())  # another device's report under this name
    reports = fleet.read_reports(store, PREFIX, [f"camera-{number}" for number in range(1, 6)])
    assert reports == {"camera-1": REPORT, "camera-2": replace(REPORT, device="camera-2", state="refused", reason="wrong digest")}
    fleet.remove_report(store, PREFIX, "camera-1")
    assert list(fleet.read_reports(store, PREFIX, ["camera-1", "camera-2"])) == ["camera-2"]


def test_a_report_confirms_only_the_very_target_that_it_serves() -> None:
    assert REPORT.confirms(TARGET)
    others = [
        {"state": "starting"},
        {"state": "refused"},
        {"attempt": 2},
        {"attempt": 4},
        {"digest": "sha256:" + "b" * 64},
        {"serving_digest": ""},
        {"fleet": "others"},
        {"age_seconds": 3 * 1.0 + fleet.STALE_GRACE_SECONDS + 0.1},
    ]
    for other in others:
        assert not replace(REPORT, **other).confirms(TARGET), other


def test_a_device_that_is_silent_for_long_is_stale(store: Store) -> None:
    fleet.write_report(store, PREFIX, replace(REPORT, heartbeat_seconds=0.0))
    assert not fleet.read_reports(store, PREFIX, ["camera-1"])["camera-1"].is_stale
    deadline = patience.Deadline(30)
    while not fleet.read_reports(store, PREFIX, ["camera-1"])["camera-1"].is_stale:
        assert not deadline.over()
        time.sleep(0.2)


def test_removing_the_target_takes_the_reports_along(store: Store, keys: KeyPair) -> None:
    fleet.publish_target(store, PREFIX, TARGET, keys.private_pem, fleet.target_tag(store, PREFIX))
    fleet.write_report(store, PREFIX, REPORT)
    store.put(f"{PREFIX}bundles/other", b"")
    fleet.remove_target(store, PREFIX)
    assert store.list("") == [f"{PREFIX}bundles/other"]


@pytest.mark.parametrize("device", ["", "../target", "a/b", "a b", "-a"])
def test_a_name_that_cannot_stand_in_a_key_is_refused(store: Store, device: str) -> None:
    with pytest.raises(IntegrityError, match="not a device's name"):
        fleet.write_report(store, PREFIX, replace(REPORT, device=device))
