import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext

import pytest
from rich.console import Console
from typer.testing import CliRunner

from isthmus.cli.commands.plan import view as plan_view
from isthmus.cli.main import app
from isthmus.errors import InputError
from isthmus.observing import stack_state
from isthmus.observing.stack_state import StackState
from isthmus.sizing.asking.deployed import stack_plan
from isthmus.sizing.asking.what_if import scenario_of
from isthmus.sizing.headroom import Headroom
from isthmus.sizing.service import ServiceInputs, plan_service

INPUTS = ServiceInputs(200, 50, 120, scv=0.3, kinds=("cpu-2",), headroom=Headroom(zones=3), edge_requests_per_second=100)
RELEASE = {"accuracy": 0.99, "metric": "accuracy", "evaluation_examples": 450, "size_bytes": 402_118, "recipe": "float32"}
FLEET = {
    "digest": "sha256:" + "cd" * 32,
    "devices": {"camera-1": "http://127.0.0.1:1"},
    "plan": {
        **RELEASE,
        "devices": 3,
        "p50_ms": 0.03,
        "p95_ms": 0.035,
        "bundle_bytes": 17690,
        "releases_per_month": 1.0,
        "price_per_gigabyte_shipped": 0.09,
        "cost_per_month": 0.01,
        "currency": "USD",
        "prices_as_of": "2026-11-23",
        "measured_on": "x86_64 2 cores",
    },
}


def outputs(inputs=INPUTS):
    plan = {**plan_service(inputs).output(), **RELEASE}
    return {"endpoint": "http://127.0.0.1:1", "digest": "sha256:" + "ab" * 32, "plan": plan}


def state(**services):
    return StackState("prod", {"services": services or {"digits": outputs()}, "fleets": {"cams": FLEET}}, {})


@pytest.fixture
def isthmus(monkeypatch):
    """Runs the command on a stack's state."""

    def run(*args, of=None):
        monkeypatch.setattr(stack_state, "reading", lambda name: nullcontext(lambda: of or state()))
        return CliRunner().invoke(app, ["plan", "prod", *args], env={"COLUMNS": "100"})

    return run


def test_the_table_is_the_plan_that_is_deployed(isthmus):
    done = isthmus()
    assert done.exit_code == 0, done.output
    assert re.search(r"digits \(cloud\) +abababababab +99.00 % +0.402 +[\d.]+ +3 +56% +197.10", done.output), done.output
    assert re.search(r"cams \(edge\) +cdcdcdcdcdcd +99.00 % +0.402 +0.035 +3 +– +0.01", done.output), done.output
    assert "all: 197.11 USD a month" in done.output
    assert "█" not in done.output


def test_explain_has_formula_inputs_and_result_of_services_and_fleets(isthmus):
    done = isthmus("--explain")
    for text in ("55.6% = λ / (c·μ)", "200 / (3 · 120)", "2,190 hours × 0.09", "17,690 bytes as shipped, 3 devices"):
        assert text in done.output, done.output


def test_the_waves_of_a_rollout_are_a_table_and_below_it_stands_what_each_gate_asks(isthmus):
    wave = {"full_bytes": 17_690, "delta_bytes": 900, "seconds": 360.1, "window_seconds": 0.0, "cost": 0.0}
    waves = [
        {**wave, "name": "canary", "devices": 1, "most_hurt": 1, "gate": "canary: passes with 0 failures at most"},
        {**wave, "name": "rest", "devices": 999, "most_hurt": 130, "gate": "rest: passes with 19 failures at most"},
    ]
    fleet = {**FLEET, "plan": {**FLEET["plan"], "waves": waves}}
    done = isthmus(of=StackState("prod", {"services": {"digits": outputs()}, "fleets": {"cams": fleet}}, {}))
    assert "cams: waves of a rollout" in done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert ["wave", "devices", "full", "delta", "time", "cost", "hurt"] in lines
    assert ["rest", "999", "17.69", "kB", "900", "bytes", "6", "min", "0.00", "130"] in lines
    assert "rest: passes with 19 failures at most" in done.output
    assert "waves" not in isthmus().output  # of a stack that an earlier version deployed


def test_what_if_says_what_happens_what_is_needed_and_draws_both_curves(isthmus):
    done = isthmus("--what-if", "demand=2x")
    assert done.exit_code == 0, done.output
    assert "digits: what if demand=2x?" in done.output
    assert "3 of 3 servers cannot keep up with 400 requests/s" in done.output
    assert "needed: 4 servers" in done.output
    assert "p95 of 3 servers, ms (red: beyond 50 ms" in done.output
    assert "cost of the servers needed, USD a month" in done.output
    assert done.output.count("▲ 200/s") == 2
    assert "×××" in done.output


def test_several_questions_are_asked_together(isthmus):
    done = isthmus("--what-if", "demand=1.5x", "--what-if", "offline=20%", "--what-if", "lose=zone")
    assert "what if demand=1.5x, offline=20%, lose=zone?" in done.output
    assert "2 of 3 servers cannot keep up with 320 requests/s" in done.output


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--what-if", "speed=3"], "'speed=3' is unknown"),
        (["--what-if", "demand=0x"], "a positive number of times"),
        (["--what-if", "demand=2x", "--what-if", "demand=3x"], "contradicts another demand"),
        (["--html", "/no/such/folder/page.html"], "lies in a folder that is not there"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_written(isthmus, args, said):
    done = isthmus(*args)
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert done.output == ""


def test_a_stack_of_another_version_says_what_to_do(isthmus):
    old = {"endpoint": "x", "digest": "sha256:1", "plan": {"replicas": 2}}
    done = isthmus(of=state(old=old))
    assert "run `pulumi up` once" in str(done.exception)


@pytest.mark.parametrize("asked", [(), ("demand=2x",), ("lose=zone",), ("demand=1000000x",)])
@pytest.mark.parametrize("explain", [True, False])
def test_it_fits_80_columns(asked, explain):
    plan = stack_plan("prod", {"digits": outputs()}, {"cams": FLEET}, scenario_of(asked))
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(plan_view.rendered(plan, explain=explain))
    lines = console.export_text().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert "197.10" in lines[1]


def test_a_page_is_written(isthmus, tmp_path):
    page = tmp_path / "plan.html"
    done = isthmus("--html", str(page))
    assert done.exit_code == 0, done.output
    assert "<h1>Plan of prod</h1>" in page.read_text()


def test_bars_are_as_high_as_values_and_red_beyond_the_limit():
    rows = plan_view.bars([0.0, 25.0, 50.0, 100.0, 1000.0, None], 100.0, 4, "100", limit=50.0)
    columns = list(zip(*(row.plain.partition("│")[2] for row in rows), strict=True))
    assert columns == [tuple(" " * 4), tuple("   █"), tuple("  ██"), tuple("████"), tuple("████"), tuple("   ×")]
    red = [span for row in rows for span in row.spans if span.style == "red"]
    assert len(red) == 2 * 4 + 4  # two columns above the limit, and the one that has no value


def test_an_answer_imports_only_what_it_needs(tmp_path):
    """As typed: a process of its own, with a `pulumi` that has the state at hand."""
    fake = tmp_path / "pulumi"
    kinds = {"services": "isthmus:index:CloudModelService", "fleets": "isthmus:index:EdgeFleetRollout"}
    resources = [
        {"type": kinds[group], "urn": f"urn:pulumi:prod::models::{kinds[group]}::{name}", "outputs": dict(outputs)}
        for group, found in state().outputs.items()
        for name, outputs in found.items()
    ]
    exported = {"deployment": {"resources": resources}}
    (tmp_path / "state.json").write_text(json.dumps(exported))
    fake.write_text(f"#!/bin/sh\ncat {tmp_path}/state.json\n")
    fake.chmod(0o755)
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('\\n'.join(sys.modules), file=sys.stderr))\n"
        "from isthmus.cli.main import main\n"
        "main()\n"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "COLUMNS": "100"}
    command = [sys.executable, "-c", code, "plan", "prod", "--what-if", "demand=2x"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "needed: 4 servers" in done.stdout
    modules = {name.partition(".")[0] for name in done.stderr.split()}
    assert not modules & {"pulumi", "tensorflow", "keras", "jinja2", "boto3", "requests", "yaml"}
