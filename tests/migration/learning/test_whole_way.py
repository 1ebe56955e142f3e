"""From a device's looks to the next policy: a router counts, the manager keeps and tells, `isthmus policy` solves with what was told."""

import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.isthmus_agent.manager.test_sampling import URL, Now, Store
from typer.testing import CliRunner

from isthmus.arguments.policy_file import load_policy
from isthmus.cli.main import app
from isthmus.migration.policy_file import policy_of
from isthmus.migration.study import solved
from isthmus_agent.formats import told_counts
from isthmus_agent.formats.policy import Policy
from isthmus_agent.manager.counting import SAVE_SECONDS, TELL_SECONDS, Counting
from isthmus_agent.manager.reporter import Sender
from isthmus_agent.server.router import Router

RELEASE = "sha256:" + "ab" * 32
STEPS, HEARD_EVERY = 3000, 30
STEP_SECONDS = 300.0
PLANNED_SECONDS, TRUE_SECONDS = 3000 * STEP_SECONDS, 2.5 * STEP_SECONDS
"""How long the network is good, and how long it is poor: the plan takes it for steady, and it is not."""


def figures(stays_seconds: float) -> dict[str, Any]:
    """A device that is slow, and a cloud that is fast in a good network and takes a while to be warm: to move pays where it lasts."""
    return {
        "name": "doors",
        "step_seconds": STEP_SECONDS,
        "discount": 0.99,
        "deadline_ms": 500,
        "request_bytes": 2000,
        "worth": {"deadline_miss_ms": 500},
        "network": {
            "levels": [
                {"name": "good", "until": 50, "stays_seconds": stays_seconds, "rtt_ms": 10, "megabits_per_second": 50},
                {"name": "poor", "stays_seconds": stays_seconds, "rtt_ms": 300, "megabits_per_second": 1},
            ]
        },
        "load": {"levels": [{"name": "usual", "requests_per_second": 0.1}]},
        "device": {"service_ms": 70, "p95_ms": 90},
        "cloud": {"service_ms": 8, "p95_ms": 12, "warm_up_ms": 60_000},
    }


def written(file: Path, stays_seconds: float) -> Path:
    file.write_text(yaml.safe_dump(figures(stays_seconds)))
    return file


def told(file: Path, *args: str) -> dict[str, Any]:
    found = CliRunner().invoke(app, ["policy", str(file), "--json", *args])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)["classes"][0]


class Network:
    """A network that changes as it does in truth."""

    def __init__(self, seed: int) -> None:
        self.dice, self.ms = random.Random(seed), 20.0  # noqa: S311

    def probe(self, model: str) -> None:
        pass

    def step(self) -> None:
        if self.dice.random() < -math.expm1(-STEP_SECONDS / TRUE_SECONDS):
            self.ms = 320.0 - self.ms

    def round_trip_ms(self) -> float:
        return self.ms


def lived(policy: Policy, name: str, seed: int, folder: Path) -> bytes:
    """What a device has put into its store after a while; its server was ended and started anew meanwhile, and so was its manager."""
    network, now, store, sender = Network(seed), Now(), Store(), Sender(name, "doors", URL, bytes(32))

    def keeping() -> Counting:
        return Counting(folder / name, sender, store, by_itself=False, monotonic=now)

    def serving() -> Router:
        return Router(policy, "digits", network, now.seconds)

    router, counting = serving(), keeping()
    for step in range(STEPS):
        now.seconds += STEP_SECONDS
        network.step()
        router.count()
        router.chosen(now.seconds)
        if step % HEARD_EVERY == 0 and (seen := router.seen()) is not None:
            counting.heard(seen)
        if step == STEPS // 2:
            router = serving()
        if step == STEPS // 3:
            counting.close()
            counting = keeping()
    counting.follow(True)
    now.seconds += TELL_SECONDS + SAVE_SECONDS
    counting.turn()
    return store.objects[told_counts.object_key("", "doors", name)]


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What five devices have told, that followed the policy as it was planned."""
    tmp_path = tmp_path_factory.mktemp("lives")
    situation = load_policy(str(written(tmp_path / "planned.yaml", PLANNED_SECONDS)), tmp_path, "file").situation()
    policy = policy_of(solved("*", situation), RELEASE)
    folder = tmp_path / "told"
    folder.mkdir()
    for seed in range(5):
        (folder / f"door-{seed}.counts").write_bytes(lived(policy, f"door-{seed}", seed, tmp_path))
    return folder


@pytest.fixture
def devices(lives: Path, tmp_path: Path) -> Path:
    """A folder with it."""
    return Path(shutil.copytree(lives, tmp_path / "told"))


def test_what_devices_saw_makes_the_policy_of_the_true_process_and_not_the_planned_one(devices: Path, tmp_path: Path):
    planned, true = (told(written(tmp_path / f"{it}.yaml", it)) for it in (PLANNED_SECONDS, TRUE_SECONDS))
    assert planned["next_place"] != true["next_place"]
    found = told(tmp_path / f"{PLANNED_SECONDS}.yaml", "--experience", str(devices))
    assert found["next_place"] == true["next_place"]
    assert found["cost_ms"] == pytest.approx(true["cost_ms"], rel=0.05)
    learned = found["learned"]
    assert (learned["devices"], learned["of_other_cells"]) == (5, 0)
    assert learned["looks"] == pytest.approx(5 * STEPS, rel=0.05)
    assert learned["planned_policy_ms"] > learned["cost_ms"]
    assert {it["before"] for it in learned["transitions"]} == {"network good, load usual", "network poor, load usual"}


def test_the_same_folder_gives_the_same_answer_and_a_broken_document_is_left_out_and_said(devices: Path, tmp_path: Path):
    file = written(tmp_path / "planned.yaml", PLANNED_SECONDS)
    first = CliRunner().invoke(app, ["policy", str(file), "--experience", str(devices)], env={"COLUMNS": "80"})
    assert "5 devices" in first.output
    assert "warning" not in first.output
    (devices / "liar.counts").write_bytes(b"{}")
    (devices / "large.counts").write_bytes(b"isthmus-counts-1\n" + b"9" * 400_000)
    second = CliRunner().invoke(app, ["policy", str(file), "--experience", str(devices)], env={"COLUMNS": "80"})
    assert second.exit_code == 0
    assert second.stdout == first.stdout
    assert "2 of 7 devices' counts could not be read, and are left out: large: " in second.stderr
    assert max(len(line) for line in first.stdout.splitlines()) <= 80
    page = tmp_path / "policy.html"
    CliRunner().invoke(app, ["policy", str(file), "--experience", str(devices), "--page", str(page)])
    assert "What devices have told" in page.read_text()


def test_counts_of_another_policy_s_cells_are_left_out_and_said(devices: Path, tmp_path: Path):
    raw = figures(PLANNED_SECONDS)
    raw["network"]["levels"][0]["until"] = 60
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(raw))
    found, plain = (told(tmp_path / "other.yaml", *more) for more in (("--experience", str(devices)), ()))
    assert found["next_place"] == plain["next_place"]
    assert found["cost_ms"] == plain["cost_ms"]
    assert (found["learned"]["devices"], found["learned"]["of_other_cells"]) == (0, 5)


def test_peers_that_devices_do_not_reach_change_nothing_about_what_their_counts_say(devices: Path, tmp_path: Path):
    raw = {**figures(PLANNED_SECONDS), "peers": {"gateway": {"service_ms": 400, "p95_ms": 500}}}
    (tmp_path / "peers.yaml").write_text(yaml.safe_dump(raw))
    assert told(tmp_path / "peers.yaml", "--experience", str(devices))["learned"]["devices"] == 5


@pytest.mark.parametrize("name", ["none", "file"])
def test_a_folder_that_is_none_is_said(tmp_path: Path, name: str):
    (tmp_path / "file").touch()
    file = written(tmp_path / "planned.yaml", PLANNED_SECONDS)
    found = CliRunner().invoke(app, ["policy", str(file), "--experience", str(tmp_path / name)])
    assert found.exit_code != 0
    assert "--experience" in str(found.exception or found.output)


def test_an_empty_folder_leaves_the_file_s_own_figures(tmp_path: Path):
    file = written(tmp_path / "planned.yaml", PLANNED_SECONDS)
    (tmp_path / "none").mkdir()
    found = CliRunner().invoke(app, ["policy", str(file), "--experience", str(tmp_path / "none")], env={"COLUMNS": "200"})
    assert "devices have told nothing of these cells yet" in found.output
