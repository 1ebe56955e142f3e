"""What a fleet's waves wait for in a cloud role that goes over with them, and what an abort takes back there."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from isthmus.errors import PlatformError
from isthmus.plugin.handler import Context
from isthmus.provider.clusters.traffic import Track, Traffic
from isthmus.provider.handlers import cloud_side
from isthmus.rollouts.standing import Standing
from isthmus.rollouts.stopping import RolloutAbortedError, RolloutPausedError

OLD, NEW, NEWER = (f"sha256:{sign * 64}" for sign in "abc")
SPLIT = {"namespace": "serving", "service": "digits", "digest": NEW}
STANDING = Standing("cameras", 3, 0.0, (), (), paused=False, passed_seconds=None, devices=3, waves=())
ABORTED, PAUSED = RolloutAbortedError("bad", STANDING, 4), RolloutPausedError("unclear", STANDING)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A split that lies in no cluster. moved: to which tracks all requests were sent."""
    tracks = {"stable": Track(1, OLD), "canary": Track(2, NEW)}
    found = SimpleNamespace(traffic=Traffic("digits", tracks).split(100, 0, "promoted", NEW, ("it passed",)), moved=[])
    found.read_or_fail = lambda: found.traffic

    def shift(_: Any, context: Context, track: str, change: Callable[[Traffic], Traffic]) -> None:
        found.moved.append(track)
        found.traffic = change(found.traffic)

    monkeypatch.setattr(cloud_side, "traffic_map", lambda *_: found)
    monkeypatch.setattr(cloud_side, "shift", shift)
    return found


def said(error: Any, inputs: dict[str, Any]) -> list[str]:
    return [*cloud_side.after_stop(error, inputs, Context(""))]


def test_an_abort_of_the_fleet_takes_the_canary_back_and_then_no_wave_is_opened(cluster: Any) -> None:
    inputs = {"cloud_split": SPLIT}
    cloud_side.ensure_stands(inputs, Context(""))
    assert said(ABORTED, inputs) == ["the cloud role has taken its canary back too, and answers with the version before"]
    assert (cluster.moved, cluster.traffic.percents) == (["stable"], {"stable": 100, "canary": 0})
    with pytest.raises(
        PlatformError, match=r"cloud side: the canary was rolled back \(the fleet's rollout .* aborted\), so that the fleet"
    ):
        cloud_side.ensure_stands(inputs, Context(""))
    assert "is not on it (canary 0 % (rolled back))" in said(ABORTED, inputs)[0]  # of two that see the abort
    assert len(cluster.moved) == 1


def test_a_canary_of_another_release_is_none_of_the_fleets(cluster: Any) -> None:
    cluster.traffic = cluster.traffic.split(10, 0, "judging", NEWER)
    cloud_side.ensure_stands({"cloud_split": SPLIT}, Context(""))
    assert "is not on it" in said(ABORTED, {"cloud_split": SPLIT})[0]
    cluster.traffic = cluster.traffic.split(0, 0, "rolled_back", NEWER, ("it failed",))
    cloud_side.ensure_stands({"cloud_split": SPLIT}, Context(""))
    assert cluster.moved == []


def test_a_pause_holds_the_cloud_role_and_a_fleet_alone_says_nothing_of_one(cluster: Any, tmp_path: Path) -> None:
    versions = {"directory": str(tmp_path), "supervisor": "/sv", "program": "p", "model_name": "m", "digest": NEW}
    for inputs in ({"cloud_split": SPLIT}, {"cloud_versions": versions}):
        assert said(PAUSED, inputs)[0].startswith("the cloud role holds as well")
    cloud_side.ensure_stands({"cloud_versions": versions}, Context(""))
    assert (said(PAUSED, {}), said(ABORTED, {}), cluster.moved) == ([], [], [])


def test_what_could_not_be_taken_back_is_said_beside_the_abort(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Traffic:
        raise PlatformError("the API server does not answer")

    monkeypatch.setattr(cloud_side, "shift", away)
    (line,) = said(ABORTED, {"cloud_split": SPLIT})
    assert line.startswith("the cloud role has not taken it back: the API server does not answer. Fix: ")
