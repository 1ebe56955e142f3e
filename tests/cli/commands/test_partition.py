"""`isthmus partition`; what measures is a stand-in here (its own tests are in tests/compile/halves)."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from isthmus.cli.commands.partition import splitting
from isthmus.cli.main import app
from isthmus.compile.halves.measured import Form, Measured, MeasuredCut
from isthmus_agent.features import Affine, WireFormat, WireTensor

PROJECT = Path(__file__).parents[3]


def _forms(size: int, accuracy: float = 0.99) -> tuple[Form, ...]:
    plain = WireTensor("f", "float32", (1, size // 4))
    eight = WireTensor("f", "float32", (1, size // 4), Affine(0.1, 0))
    return (
        Form(WireFormat((plain,)), size, 0.99, 0.0),
        Form(WireFormat((plain,), True), size * 0.9, 0.99, 0.0, 0.1, 0.1),
        Form(WireFormat((eight,)), size / 4, accuracy, 0.01),
        Form(WireFormat((eight,), True), size / 5, accuracy, 0.01, 0.1, 0.1),
    )


MEASURED = Measured(
    (
        MeasuredCut(0, "inputs", "image", _forms(400_000), 0, 1000, 0.0, 20.0),
        MeasuredCut(3, "MAX_POOL_2D", "pool", _forms(40_000), 500, 500, 4.0, 16.0),
        MeasuredCut(5, "CONV_2D", "conv", _forms(400, accuracy=0.5), 900, 100, 15.0, 5.0),
    ),
    20.0,
    6,
    450,
    0.99,
    "accuracy",
    {"an output is made before it": 1},
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was measured, while the stand-in measures."""
    requests: list[object] = []

    async def measured(request: object, say: object) -> tuple[str, Measured]:
        requests.append(request)
        return "sha256:" + "0" * 64, MEASURED

    monkeypatch.setattr(splitting, "_measured", measured)
    monkeypatch.setenv("COLUMNS", "160")
    return requests


def _partition(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["partition", str(PROJECT / "models" / "digits"), *arguments])


@pytest.mark.usefixtures("asked")
def test_the_table_has_every_cut_and_the_fastest_at_each_bandwidth() -> None:
    result = _partition("-b", "0.01", "-b", "4", "-b", "1000")
    assert result.exit_code == 0, result.output
    for said in ("MAX_POOL_2D", "40 kB", "10 kB", "8 kB", "50 %", "no cut at 1 place: an output is made before it"):
        assert said in result.output
    rows = [line.split() for line in result.output.splitlines()]
    assert next(row for row in rows if row[:1] == ["0.01"])[1:5] == ["all", "on", "the", "device"]
    assert next(row for row in rows if row[:1] == ["4"])[1:3] == ["cut", "3,"]
    assert next(row for row in rows if row[:1] == ["1,000"])[1:5] == ["all", "in", "the", "cloud,"]


@pytest.mark.usefixtures("asked")
def test_json_has_every_figure() -> None:
    result = _partition("--json", "-b", "5")
    data = json.loads(result.stdout)
    (row,) = data["sweep"]
    # Head 4 ms × 8, round trip 20 ms, tail 16 ms, 10 kB at 5 Mbit/s; with 8 kB and 0.1 ms at either end the deflated form is faster.
    assert row["latency_ms"] == pytest.approx((4 + 0.1) * 8 + 20 + 16 + 0.1 + 8000 * 8 / 5000)
    assert row["gain"] == pytest.approx(min(row["local_ms"], row["cloud_ms"]) / row["latency_ms"])
    assert data["choice"][0]["most_megabits_per_second"] is None
    assert [way["name"] for way in data["ways"] if way["layers"] == 5] == ["cut 5, as it is", "cut 5, as it is, deflated"]


def test_all_that_is_wrong_is_said_at_once(asked: list[object]) -> None:
    given = ["--speed-factor", "0", "--round-trip-ms", "nan", "-b", "-1", "--recipe", "int7", "--max-loss-percent", "inf"]
    result = CliRunner().invoke(app, ["partition", "models/nowhere", *given])
    said = " ".join(str(result.exception).split())
    assert result.exit_code == 1
    assert not asked
    for option in ("--speed-factor", "--round-trip-ms", "--megabits-per-second", "--recipe", "--max-loss-percent", "MODEL"):
        assert said.count(f"{option}:") == 1


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("sha256:" + "0" * 64, [], "no evaluation data"),
        ("models/nowhere", [], "MODEL"),
        (str(PROJECT / "models" / "digits"), ["--recipe", "serving-only"], "no variant for devices"),
    ],
)
def test_what_cannot_be_cut_is_refused_before_anything_runs(model: str, options: list[str], said: str, asked: list[object]) -> None:
    result = CliRunner().invoke(app, ["partition", model, *options])
    assert said in " ".join(str(result.exception).split())
    assert not asked
