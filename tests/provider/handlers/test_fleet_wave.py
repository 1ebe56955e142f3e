"""FleetWave against a real store, with devices that only say how it goes."""

import base64
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isthmus.release.manifest import Release
from isthmus.release.store import Store, StoreAddress
from isthmus.repository import roster
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.rollouts.contents import contents_of
from isthmus.rollouts.intent import Fleet
from isthmus.rollouts.looking import read_signed
from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.fusion_group import FusionGroup, Member
from isthmus_agent.formats.policy import Policy
from isthmus_agent.formats.report import Figures, Outcome, Reason, Report
from isthmus_agent.formats.roster import Device
from isthmus_agent.formats.sealed_contents import key_name

pytestmark = pytest.mark.slow

DEVICES = [Device(f"camera-{number}", "*", {"site": f"{number}"}) for number in (1, 2, 3)]
GATE = {"soak_seconds": 0, "deadline_seconds": 60}
WAVES = [{"count": 1, "gate": GATE}, {"percent": 100, "gate": GATE}]


class Devices:
    """All of them answer at once what the test says, those whose wave is open about what they are told. answers: by content."""

    def __init__(self, fleet: Fleet) -> None:
        self.answers: dict[str, Outcome] = {}
        self.seen: list[Assignment] = []
        self._fleet = fleet
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            told = read_signed(self._fleet).told
            if told is None or (self.seen and told == self.seen[-1]):
                continue
            self.seen.append(told)
            for device in DEVICES:
                wanted = told.wanted(device.name, device.labels, device.device_class)
                if wanted and wanted.variant and wanted.number == told.number:
                    self._say(device, told.number, wanted.variant.digest)

    def _say(self, device: Device, number: int, digest: str) -> None:
        outcome = self.answers.get(digest, Outcome.CONFIRMED)
        reason = Reason.CRASHED if outcome is Outcome.UNFIT else Reason.NONE
        figures = Figures(boots=1, boot_mark=1, sequence=number, outcome_seconds=1)
        report = Report(device.name, number, outcome, digest.removeprefix("sha256:")[:16], reason, figures=figures)
        key = device.report_key(self._fleet.secret or b"", self._fleet.name)
        self._fleet.place.objects.put(report.object_key(self._fleet.place.prefix, self._fleet.name, key), b"")

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)


@pytest.fixture
def inputs(
    plugin: Any, store: dict[str, str], tmp_path: Path, make_release: Callable[..., Release], cache_directory: Path
) -> dict[str, Any]:
    """Of the first wave, in a repository with three devices."""
    opened = Store(StoreAddress.from_inputs(store), f"models-{uuid.uuid4().hex[:8]}")
    opened.ensure_bucket()
    place = {"store": store, "bucket": opened.bucket, "prefix": "cameras/", "fleet": "cameras", "keys": str(tmp_path / "keys")}
    plugin.create("FleetRepository", {**place, "make_keys": True, "owner": "acme/shop/dev"})
    keyring = Keyring.load(tmp_path / "keys")

    def joined(found: Any) -> Any:
        for device in DEVICES:
            found = found.with_device(device)
        return found

    roster.change(Place(opened, "cameras/"), keyring, "cameras", joined)
    return {
        **place,
        "releases": {"*": make_release().digest},
        "cache_directory": str(cache_directory),
        "waves": WAVES,
        "wave": 0,
        "probation": {"seconds": 0},
        "budget": {"label": "site", "most_devices": 1},
    }


@pytest.fixture
def fleet(inputs: dict[str, Any]) -> Fleet:
    keyring = Keyring.load(Path(inputs["keys"]))
    secret = roster.fleet_secret(roster.secret_uri("cameras"), keyring.folder)
    return Fleet(Place(Store(StoreAddress.from_inputs(inputs["store"]), inputs["bucket"]), "cameras/"), keyring, "cameras", secret)


@pytest.fixture
def devices(fleet: Fleet) -> Iterator[Devices]:
    made = Devices(fleet)
    yield made
    made.stop()


def told(fleet: Fleet) -> Assignment:
    found = read_signed(fleet).told
    assert found is not None
    return found


@pytest.mark.usefixtures("devices")
def test_waves_are_opened_one_after_the_other_and_found_as_they_are(plugin: Any, inputs: dict[str, Any], fleet: Fleet) -> None:
    last = {**inputs, "wave": 1}
    assert plugin.preview("FleetWave", inputs)["outcome"] == "passed"
    assert read_signed(fleet).told is None
    first = plugin.create("FleetWave", inputs)
    assert (first.outputs["name"], first.outputs["outcome"], first.outputs["confirmed"]) == ("canary", "passed", 1)
    assert told(fleet).open_waves == 1
    second = plugin.create("FleetWave", last, name="second")
    assert (second.outputs["outcome"], second.outputs["confirmed"], second.outputs["number"]) == ("passed", 2, first.outputs["number"])
    assert any("wave" in text for text in plugin.engine.texts(ephemeral=True))
    for resource, its in ((first, inputs), (second, last)):
        assert plugin.read(resource).outputs == resource.outputs
        assert not plugin.diff(resource, its).diffs
    assert plugin.update(first, inputs).outputs["number"] == first.outputs["number"]  # nothing is told anew
    plain = told(fleet).variants
    sealed = plugin.update(first, {**inputs, "encrypt": True})
    assert fleet.content_key is not None
    assert [it.key for it in told(fleet).variants] == [key_name(fleet.content_key)]
    assert (sealed.outputs["outcome"], sealed.outputs["contents"]) == ("passed", first.outputs["contents"])
    assert plugin.read(sealed).outputs == sealed.outputs
    secret = Path(inputs["keys"]) / "cameras-devices.secret"
    kept, _ = secret.read_bytes(), secret.write_bytes(base64.b64encode(b"another secret".ljust(32)))
    assert plugin.read(sealed).outputs["outcome"] == "superseded", "who has left has the former key"
    secret.write_bytes(kept)
    first = plugin.update(first, inputs)
    assert first.outputs["number"] == sealed.outputs["number"] + 1
    assert told(fleet).variants == plain
    Path(inputs["keys"]).rename(f"{inputs['keys']}-elsewhere")
    assert plugin.read(first).outputs == first.outputs


def test_a_release_that_fails_is_taken_back_and_tried_again_from_the_canary_on(
    plugin: Any, inputs: dict[str, Any], fleet: Fleet, devices: Devices, make_release: Callable[..., Release]
) -> None:
    waves = [plugin.create("FleetWave", {**inputs, "wave": index}, name=f"wave-{index}") for index in (0, 1)]
    good = told(fleet).variants
    worse = {**inputs, "releases": {"*": make_release(b"worse").digest}}
    devices.answers = {_content(fleet, worse): Outcome.UNFIT}
    with pytest.raises(Exception, match="aborted in wave canary: 1 of 1 devices failed") as caught:
        plugin.update(waves[0], worse)
    assert caught.value.outputs["outcome"] == "aborted"
    assert (told(fleet).variants, told(fleet).number) == (good, waves[0].outputs["number"] + 2)
    assert all(it.open_waves == 1 for it in devices.seen if it.number == waves[0].outputs["number"] + 1)
    devices.answers = {}
    again = plugin.update(waves[1], {**worse, "wave": 1})
    assert again.outputs["outcome"] == "passed"
    assert told(fleet).variants != good


@pytest.mark.usefixtures("devices")
def test_without_waiting_an_update_does_what_can_be_done_now(plugin: Any, inputs: dict[str, Any], fleet: Fleet) -> None:
    asked = {**inputs, "wait": False, "waves": [{**WAVES[0], "gate": {**GATE, "soak_seconds": 50}}, WAVES[1]]}
    first = plugin.create("FleetWave", asked)
    second = plugin.create("FleetWave", {**asked, "wave": 1}, name="second")
    assert (first.outputs["outcome"], second.outputs["outcome"]) == ("waiting", "closed")
    assert list(plugin.diff(first, asked).diffs) == ["outcome"]
    assert told(fleet).open_waves == 1


@pytest.mark.usefixtures("devices")
def test_what_is_told_otherwise_is_drift_and_what_is_replaced_in_place_takes_nothing_back(
    plugin: Any, inputs: dict[str, Any], fleet: Fleet, make_release: Callable[..., Release]
) -> None:
    old = plugin.create("FleetWave", inputs)
    new = plugin.create("FleetWave", inputs)
    before = told(fleet)
    plugin.delete(old)
    assert told(fleet) == before
    plugin.create("FleetWave", {**inputs, "releases": {"*": make_release(b"another").digest}}, name="other")
    assert plugin.read(new).outputs["outcome"] == "superseded"
    assert plugin.read(old) is not None


def test_a_bundle_has_the_policy_of_its_class_and_one_for_another_release_is_refused(
    plugin: Any, inputs: dict[str, Any], fleet: Fleet, make_release: Callable[..., Release]
) -> None:
    release = make_release()
    text = Policy(release.digest, "*", ("device", "cloud"), (), (1, 1), 10_000).to_json().decode()
    asked = {**inputs, "wait": False, "policies": {"*": text}, "min_confidence": {"*": 0.5}}
    wave = plugin.create("FleetWave", asked)
    (said,), _ = contents_of({"*": release}, "cameras", {"*": {"min_confidence": 0.5, "policy": text}})
    assert told(fleet).variants == (said,)
    assert not told(fleet).counts
    assert list(plugin.diff(wave, {**asked, "counts": True}).diffs) != list(plugin.diff(wave, asked).diffs)
    before = told(fleet).number
    plugin.update(wave, {**asked, "counts": True})
    assert (told(fleet).counts, told(fleet).number) == (True, before)
    assert list(plugin.diff(wave, {**asked, "policies": {}}).diffs) != list(plugin.diff(wave, asked).diffs)
    other = Policy("sha256:" + "a" * 64, "*", ("device",), (), (0,), 1).to_json().decode()
    (problem,) = plugin.problems("FleetWave", {**asked, "policies": {"*": other}})
    assert "the policy was made for sha256:aaa" in problem
    (problem,) = plugin.problems("FleetWave", {**asked, "policies": {"tractor": text}})
    assert "there is no release for this class" in problem


def test_a_bundle_has_the_group_of_its_class_and_one_for_another_release_is_refused(
    plugin: Any, inputs: dict[str, Any], fleet: Fleet, make_release: Callable[..., Release]
) -> None:
    release = make_release()

    def group(digest: str) -> dict[str, Any]:
        its = FusionGroup(digest, 4000, (Member("far", 1, 1), Member("near", 1, 1)), ((), (0,)), (-1, -1))
        return {"file": its.to_bytes().decode(), "wait_ms": 200}

    asked = {**inputs, "wait": False, "groups": {"*": group(release.digest)}}
    wave = plugin.create("FleetWave", asked)
    (said,), _ = contents_of({"*": release}, "cameras", {"*": {"group": group(release.digest)}})
    assert told(fleet).variants == (said,)
    assert list(plugin.diff(wave, {**asked, "groups": {}}).diffs) != list(plugin.diff(wave, asked).diffs)
    (problem,) = plugin.problems("FleetWave", {**asked, "groups": {"*": group("sha256:" + "a" * 64)}})
    assert "the group was measured with sha256:aaa" in problem
    (problem,) = plugin.problems("FleetWave", {**asked, "groups": {"tractor": group(release.digest)}})
    assert "there is no release for this class" in problem


def test_a_bundle_says_which_confidence_is_enough_for_its_class(
    plugin: Any, inputs: dict[str, Any], fleet: Fleet, make_release: Callable[..., Release]
) -> None:
    asked = {**inputs, "wait": False, "min_confidence": {"*": 0.625}}
    wave = plugin.create("FleetWave", asked)
    (said,), _ = contents_of({"*": make_release()}, "cameras", {"*": {"min_confidence": 0.625}})
    assert told(fleet).variants == (said,)
    assert list(plugin.diff(wave, {**asked, "min_confidence": {"*": 0.75}}).diffs) != list(plugin.diff(wave, asked).diffs)
    (problem,) = plugin.problems("FleetWave", {**asked, "min_confidence": {"*": 1.5}})
    assert problem.startswith("min_confidence")


def test_waves_that_cannot_be_are_refused_before_anybody_is_told(plugin: Any, inputs: dict[str, Any], fleet: Fleet) -> None:
    (problem,) = plugin.problems("FleetWave", {**inputs, "wave": 2})
    assert problem.startswith("wave: is 2; expected 0 to 1")
    found = plugin.problems("FleetWave", {**inputs, "releases": {"*": "latest", "?": inputs["releases"]["*"]}})
    assert sorted(text.split(": ")[0] for text in found) == ['releases["*"]', 'releases["?"]']
    with pytest.raises(Exception, match="after the last wave 2 devices of 3 would not have the release"):
        plugin.create("FleetWave", {**inputs, "waves": [WAVES[0]]})
    assert read_signed(fleet).told is None


def _content(fleet: Fleet, inputs: dict[str, Any]) -> str:
    """The digest of what devices would keep."""
    from isthmus.release.cache import ReleaseCache
    from isthmus.rollouts.contents import content_of

    release = ReleaseCache(Path(inputs["cache_directory"])).find(inputs["releases"]["*"])
    assert release is not None
    return content_of(release, fleet.name, {}).variant.digest
