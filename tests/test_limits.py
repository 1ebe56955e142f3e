"""A limit is the same where a program is checked, where a resource is, and where people read of it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from isthmus import limits
from isthmus.arguments.canary import CanaryGateSettings
from isthmus.arguments.checking import Checked, problems_of
from isthmus.arguments.serving import ServingSettings
from isthmus.limits import CANARY_GATE, FLEET_GATE, GATEWAY, Limit
from isthmus.platforms.docker.settings import DockerSettings, HostSettings
from isthmus.plugin.schema import Property, ResourceSpec, problems
from isthmus.provider.registry import HANDLERS

DOCS = Path(__file__).parents[1] / "docs"
SAID: list[tuple[str, Limit, type[Checked], dict, str]] = [
    *((name, limit, CanaryGateSettings, {}, "CanaryGate.gate") for name, limit in CANARY_GATE.items()),
    ("canary_percent", limits.CANARY_PERCENT, ServingSettings, {"requests_per_second": 1, "p95_ms": 1}, "CanaryGate"),
    ("mirror_percent", limits.MIRROR_PERCENT, ServingSettings, {"requests_per_second": 1, "p95_ms": 1}, "CanaryGate"),
    ("deadline_seconds", limits.HOST_DEADLINE_SECONDS, DockerSettings, {}, "DockerServer"),
    ("deadline_seconds", limits.HOST_DEADLINE_SECONDS, DockerSettings, {}, "DockerModelFolder"),
    ("deadline_seconds", limits.HOST_DEADLINE_SECONDS, DockerSettings, {}, "DockerGate"),
    ("memory_mib", limits.HOST_MEMORY_MIB, HostSettings, {"name": "a", "address": "ssh://a"}, "DockerServer"),
    ("cpus", limits.HOST_CPUS, HostSettings, {"name": "a", "address": "ssh://a"}, "DockerServer"),
]


def _property(place: str, name: str) -> Property:
    kind, _, inside = place.partition(".")
    table = HANDLERS[f"isthmus:index:{kind}"].spec.inputs
    fields = table[inside].fields if inside else table
    assert fields is not None
    return fields[name]


@pytest.mark.parametrize(("name", "limit", "model", "others", "place"), SAID, ids=lambda it: it if isinstance(it, str) else "")
def test_what_a_program_may_say_is_what_the_plugin_takes(name: str, limit: Limit, model: type[Checked], others: dict, place: str) -> None:
    spec = ResourceSpec("it", "it", {name: _property(place, name)})
    step = 1 if limit.whole else limit.least * 1e-6 or 1e-6
    tries = {limit.least: True, limit.least - step: False, limit.default: True, limit.most: True, limit.most + 1: False}
    for value, fits in tries.items():
        if value is None or value in (float("inf"),):
            continue
        given = int(value) if limit.whole else float(value)
        assert (not problems(spec, {name: given})) is fits, given
        assert (not problems_of(model, {**others, name: given}, "it")[1]) is fits, given
    assert model.model_fields[name].default == limit.default


@pytest.mark.parametrize(
    ("page", "argument", "default"),
    [
        ("gateway.md", "timeout_seconds", GATEWAY["timeout_seconds"].default),
        ("gateway.md", "max_request_mib", GATEWAY["max_request_mib"].default),
        ("docker.md", "hosts[].speed", limits.SPEED.default),
        ("docker.md", "deadline_seconds", limits.HOST_DEADLINE_SECONDS.default),
    ],
)
def test_pages_that_say_more_of_an_argument_have_its_default(page: str, argument: str, default: float) -> None:
    row = next(line for line in (DOCS / page).read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{argument}` |"))
    assert f"{default:g}" in [cell.strip() for cell in row.split("|")]


@pytest.mark.parametrize(("of", "limits_of_gate"), [("canary.md", CANARY_GATE), ("fleet-gates.md", FLEET_GATE)])
def test_the_page_of_a_gate_has_its_limits(of: str, limits_of_gate: Mapping[str, Limit]) -> None:
    page = (DOCS / of).read_text(encoding="utf-8")
    for name, limit in limits_of_gate.items():
        default = "" if limit.default is None else f"{limit.default:g}"
        row = [cell.strip() for cell in next(line for line in page.splitlines() if line.startswith(f"| `{name}` |")).split("|")[1:-1]]
        assert row == [f"`{name}`", limit.what, default, limit.range]


def test_a_number_with_bounds_and_no_default_can_be_one_that_has_to_be_given() -> None:
    assert _property("DockerGate", "admin_port").required
    assert not _property("DockerServer", "memory_mib").required
