"""`isthmus policy`: from a file of figures to maps, a page, JSON, and what devices read."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from isthmus.cli.main import app
from isthmus.errors import InputError
from isthmus_agent.formats.policy import from_json

EXAMPLE = Path(__file__).parents[3] / "policies" / "cameras.yaml"
RELEASE = "sha256:" + "ab" * 32


@pytest.fixture
def policy(tmp_path):
    """Runs the command on a file, a copy of the example with long steps, whose simulated week is short."""
    file = tmp_path / "cameras.yaml"
    file.write_text(EXAMPLE.read_text().replace("step_seconds: 10", "step_seconds: 300"))

    def run(*args, of=file):
        return CliRunner().invoke(app, ["policy", str(of), *args], env={"COLUMNS": "80"})

    return run


def test_it_shows_figures_maps_rivals_and_a_week_in_80_columns(policy):
    found = policy()
    assert found.exit_code == 0, found.output
    for said in (
        "class camera ",
        "class camera-old",
        "now on device",
        "follow the user",
        "proven",
        "deadlines missed",
        "3 places × 32 cells = 96",
    ):
        assert said in found.output
    assert max(len(line) for line in found.output.splitlines()) <= 80


def test_json_has_the_problem_and_the_answer_as_values(policy):
    found = json.loads(policy("--json").output)
    camera, old = found["classes"]
    assert (camera["class"], old["class"]) == ("camera", "camera-old")
    assert len(camera["step_cost_ms"]) == 3
    assert camera["cost_ms"] <= camera["rivals_ms"]["never"]
    assert found["files"] == []


def test_devices_read_what_it_writes_for_this_release(policy, tmp_path):
    out = tmp_path / "new" / "folder"
    found = policy("--out", str(out), "--release", RELEASE)
    assert found.exit_code == 0, found.output
    for name in ("camera", "camera-old"):
        assert from_json((out / f"policy-{name}.json").read_bytes(), RELEASE).device_class == name
    before = (out / "policy-camera.json").read_bytes()
    policy("--out", str(out), "--release", RELEASE, "--seed", "7")
    assert (out / "policy-camera.json").read_bytes() == before  # chance is in the week alone


def test_one_policy_for_all_devices_is_named_so(policy, tmp_path):
    raw = yaml.safe_load(EXAMPLE.read_text())
    del raw["classes"]
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump({**raw, "step_seconds": 300}))
    assert policy("--out", str(tmp_path / "out"), "--release", RELEASE, of=file).exit_code == 0
    assert from_json((tmp_path / "out" / "policy-all.json").read_bytes(), RELEASE).device_class == "*"


def test_the_page_is_written_and_named(policy, tmp_path):
    page = tmp_path / "policy.html"
    assert f"wrote {page}" in policy("--page", str(page)).output.replace("\n", "")
    assert page.read_text().startswith("<!doctype html>")


WRONG = {
    "files for no release": (["--out", "OUT"], "--release: is missing"),
    "no digest": (["--out", "OUT", "--release", "v1"], "--release: found 'v1'"),
    "a release for nothing": (["--release", RELEASE], "none is written"),
    "a page in no folder": (["--page", "OUT/none/page.html"], "lies in a folder that is not there"),
    "out is a file": (["--out", "FILE", "--release", RELEASE], "is a file"),
}


@pytest.mark.parametrize("which", WRONG)
def test_what_cannot_be_is_said_before_the_work(policy, tmp_path, which):
    args, said = WRONG[which]
    (tmp_path / "file").write_text("")
    found = policy(*(it.replace("OUT", str(tmp_path / "out")).replace("FILE", str(tmp_path / "file")) for it in args))
    assert isinstance(found.exception, InputError)
    assert said in str(found.exception)


def test_a_file_that_is_wrong_is_told_by_its_name_and_place(policy, tmp_path):
    file = tmp_path / "cameras.yaml"
    file.write_text(file.read_text().replace("data: may_leave_device", "data: stays_on_device"))
    found = policy(of=file)
    assert isinstance(found.exception, InputError)
    assert "cloud: contradicts `data: stays_on_device`" in str(found.exception)
