import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from isthmus.cli.commands.advise.answer import situation_from
from isthmus.cli.main import app
from isthmus.errors import InputError
from isthmus.sizing.advisor.inputs import INPUTS
from isthmus.sizing.advisor.presets import PRESETS


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def isthmus(*args: str):
    return CliRunner().invoke(app, ["advise", *args])


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_shows_table_answer_reasons_and_changes_in_80_columns(name):
    done = isthmus("--preset", name, "--all")
    assert done.exit_code == 0, done.output
    assert f"Answer: {PRESETS[name].expected}" in done.output
    assert "What alone would change it" in done.output
    assert "… " not in done.output.replace("… as compared", "")  # rich cuts off what does not fit
    assert max(map(len, done.output.splitlines())) <= 80


def test_the_widest_numbers_fit_80_columns():
    done = isthmus("-p", "traffic-counting", "--price-per-server-hour", "1e6", "--p95-ms", "86400000", "--devices", "1000000000")
    assert max(map(len, done.output.splitlines())) <= 80
    assert "86,400,000 ms" in " ".join(done.output.split())


def test_json_has_everything_the_table_has():
    found = json.loads(isthmus("--preset", "smart-security", "--json").output)
    assert found["mode"] == "edge"
    assert {check["requirement"] for check in found["modes"]["cloud"]["checks"] if not check["met"]} >= {"latency", "data stays"}
    assert found["situation"]["p95_ms"] == 200
    assert {"name", "now", "becomes", "mode", "relative"} == set(found["changes"][0])


def test_where_no_mode_fits_it_says_so_and_fails():
    done = isthmus("--preset", "smart-security", "--latency-ms", "10")
    assert done.exit_code == 1
    assert "Answer: no mode fits" in done.output
    assert "not edge (latency)" in done.output


def test_options_go_before_the_file_and_the_file_before_the_preset(tmp_path):
    file = tmp_path / "advise.yaml"
    file.write_text("preset: smart-security\np95_ms: 300\ndevices: 7\n")
    situation = situation_from(None, file, {"devices": "8"})
    assert (situation.p95_ms, situation.devices, situation.request_bytes) == (300, 8, 100_000)
    assert situation_from("in-car-assistant", file, {}).request_bytes == 64_000  # --preset goes before the file's


def test_every_input_can_be_given_as_an_option():
    values = PRESETS["in-car-assistant"].values
    flags = [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    with_preset, with_flags = isthmus("--preset", "in-car-assistant", "--json"), isthmus("--json", *flags)
    assert with_flags.exit_code == 0, with_flags.output
    assert with_flags.output == with_preset.output


def test_the_help_names_every_input_in_full():
    text = isthmus("--help").output
    for name in INPUTS:
        assert f"--{name.replace('_', '-')}" in text


@pytest.mark.parametrize(("flag", "mode"), [("--data-may-leave", "edge"), ("--data-must-stay", "edge")])
def test_whether_data_may_leave_is_an_option_either_way(flag, mode):
    found = json.loads(isthmus("--preset", "smart-security", flag, "--json").output)
    assert found["mode"] == mode
    assert found["situation"]["data_must_stay"] == (flag == "--data-must-stay")


def test_the_presets_are_listed():
    text = isthmus("--presets").output
    assert all(name in text for name in PRESETS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "is not YAML"),
        ("- 1", "has no inputs by name"),
        ("preset: nothing", "there is no preset 'nothing'"),
        ("preset: [1]", r"there is no preset \[1\]"),
        ("{preset: '', p95_ms: soon}", "(?s)there is no preset ''.*'soon' is not a number"),
        ("{preset: smart-security, p59_ms: 1, devices: many}", "(?s)p59_ms: is no input.*write p95_ms.*devices: 'many' is not a number"),
        ("{preset: smart-security, 5: 1}", "5: is no input of the advisor"),
    ],
)
def test_a_file_that_is_wrong_is_one_message(tmp_path, content, said):
    file = tmp_path / "advise.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match=said):
        situation_from(None, file, {})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        situation_from(None, tmp_path / "gone.yaml", {})


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "isthmus.cli.main", "advise", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_all_bad_options_are_named_at_once_without_a_traceback():
    done = run("--preset", "smart-security", "--p95-ms", "soon", "--devices", "-1", "--offline-percent", "nan")
    assert done.returncode == 1
    for part in ("p95_ms: 'soon' is not a number", "devices: -1 is out of range", "offline_percent: nan is out of range"):
        assert part in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_nothing_given_says_what_could_be():
    done = run()
    assert done.returncode == 1
    assert "smart-security" in done.stderr


def test_data_cannot_both_stay_and_leave():
    done = run("--preset", "smart-security", "--data-must-stay", "--data-may-leave")
    assert done.returncode == 1
    assert "contradicts" in done.stderr
