"""Downloads go on where they ended, and are believed only when they are whole."""

import time
from pathlib import Path

import pytest
from tests.fleet_sayings import path_of
from tests.fleet_store import Reply, Served
from tests.isthmus_agent.manager.conftest import BUNDLE
from tests.repository.devices import Device

from isthmus_agent.manager.failures import DeviceFailure, RepositoryFailure, SlowFailure, TransportFailure
from isthmus_agent.manager.transport import Patience

HALF = len(BUNDLE) // 2
HASTY = Patience(silence_seconds=5, window_seconds=0.2, least_bytes_per_second=10_000, deadline_seconds=60)


@pytest.fixture(autouse=True)
def _refreshed(device: Device, http: Served) -> None:
    device.poll()
    http.requests.clear()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part"


def fetch(device: Device, part: Path, patience: Patience | None = None) -> None:
    device.repository.download(path_of(BUNDLE), part, patience)


def test_what_is_there_is_not_fetched_again(device: Device, http: Served, part: Path):
    part.write_bytes(BUNDLE[:HALF])
    fetch(device, part)
    assert part.read_bytes() == BUNDLE
    assert [headers["range"] for _, _, headers in http.requests] == [f"bytes={HALF}-"]


def test_what_is_whole_costs_no_request(device: Device, http: Served, part: Path):
    part.write_bytes(BUNDLE)
    fetch(device, part)
    assert http.requests == []


def test_an_answer_that_breaks_off_is_gone_on_with(device: Device, http: Served, part: Path):
    http.fault = lambda path, headers: Reply(200, BUNDLE[:HALF])
    with pytest.raises(TransportFailure, match="missing"):
        fetch(device, part)
    http.fault = lambda path, headers: None
    fetch(device, part)
    assert part.read_bytes() == BUNDLE
    assert http.requests[-1][2]["range"] == f"bytes={HALF}-"


def test_a_server_that_ignores_the_range_is_no_harm(device: Device, http: Served, part: Path):
    part.write_bytes(BUNDLE[:HALF])
    http.fault = lambda path, headers: Reply(200, BUNDLE)
    fetch(device, part)
    assert part.read_bytes() == BUNDLE


@pytest.mark.parametrize("status", [404, 403, 500, 503, 302, 204])
def test_another_status_is_tried_again_and_keeps_what_is_there(device: Device, http: Served, part: Path, status: int):
    part.write_bytes(BUNDLE[:HALF])
    http.fault = lambda path, headers: Reply(status, b"<html>")
    with pytest.raises(TransportFailure, match=str(status)):
        fetch(device, part)
    assert part.read_bytes() == BUNDLE[:HALF]


def test_a_flipped_bit_is_found_and_fetched_anew(device: Device, http: Served, part: Path):
    part.write_bytes(b"\xff" + BUNDLE[1:HALF])
    with pytest.raises(TransportFailure, match="changed on the way"):
        fetch(device, part)
    assert not part.exists()
    fetch(device, part)
    assert part.read_bytes() == BUNDLE


def test_a_portals_page_of_the_right_length_is_found(device: Device, http: Served, part: Path):
    http.fault = lambda path, headers: Reply(200, b"<html>".ljust(len(BUNDLE)))
    with pytest.raises(TransportFailure):
        fetch(device, part)
    http.fault = lambda path, headers: None
    fetch(device, part)


def test_a_part_that_is_too_long_begins_anew(device: Device, part: Path):
    part.write_bytes(BUNDLE + b"more")
    fetch(device, part)
    assert part.read_bytes() == BUNDLE


def test_a_part_that_is_a_folder_is_the_devices_failure_unless_it_is_empty(device: Device, part: Path):
    part.mkdir()
    fetch(device, part)
    part.unlink()
    (part / "inside").mkdir(parents=True)
    with pytest.raises(DeviceFailure):
        fetch(device, part)


def test_a_disk_that_cannot_be_written_is_the_devices_failure(device: Device, tmp_path: Path):
    with pytest.raises(DeviceFailure) as caught:
        fetch(device, tmp_path / "no folder" / "part")
    assert caught.value.failure == "device"


def test_endless_data_ends_at_the_signed_length(device: Device, http: Served, part: Path):
    http.fault = lambda path, headers: Reply(200, BUNDLE, endless=True)
    fetch(device, part)
    assert part.read_bytes() == BUNDLE


def test_a_trickle_is_given_up_and_what_came_is_kept(device: Device, http: Served, part: Path):
    http.fault = lambda path, headers: Reply(200, BUNDLE, trickle_seconds=0.01)
    with pytest.raises(SlowFailure, match="too slow"):
        fetch(device, part, HASTY)
    assert 0 < part.stat().st_size < len(BUNDLE)
    http.fault = lambda path, headers: None
    fetch(device, part)
    assert part.read_bytes() == BUNDLE


def test_a_trickle_that_is_nearly_over_is_given_up_as_soon(device: Device, http: Served, part: Path):
    """What is left of it would go into the kept connection otherwise, for as long as the sender likes."""
    part.write_bytes(BUNDLE[:-1000])
    http.fault = lambda path, headers: Reply(206, BUNDLE[-1000:], trickle_seconds=0.05)
    begun = time.monotonic()
    with pytest.raises(SlowFailure, match="too slow"):
        fetch(device, part, HASTY)
    assert time.monotonic() - begun < 25  # the whole of it takes 50 s


def test_a_head_that_trickles_is_ended_by_the_deadline(device: Device, http: Served, part: Path):
    http.fault = lambda path, headers: Reply(200, BUNDLE, {"X-Filler": "x" * 1000}, trickle_seconds=0.05, trickles_head=True)
    with pytest.raises(SlowFailure):
        fetch(device, part, Patience(silence_seconds=5, deadline_seconds=0.5))


def test_nobody_answering_is_a_failure_of_the_way(device: Device, http: Served, part: Path):
    http.fault = lambda path, headers: Reply(200, b"", trickle_seconds=60, trickles_head=True)
    with pytest.raises(RepositoryFailure) as caught:
        fetch(device, part, Patience(silence_seconds=0.2, deadline_seconds=30))
    assert caught.value.failure == "transport"
