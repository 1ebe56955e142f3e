"""What `isthmus partition` shows: every cut, the fastest way at each bandwidth, and what it gains."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from isthmus.compile.halves.measured import Form, Measured, MeasuredCut
from isthmus.compile.halves.ways import Plan, Situation, keeps
from isthmus.words import in_bytes, percent, plain


@dataclass(frozen=True)
class Shown:
    """All that is shown. sweep: in Mbit/s, rising."""

    model: str
    recipe: str
    release: str
    measured: Measured
    situation: Situation
    plan: Plan
    sweep: tuple[float, ...]


def view(shown: Shown) -> Group:
    """For a terminal."""
    measured, situation = shown.measured, shown.situation
    about = (
        f"{shown.model} ({shown.recipe}), {measured.layers} layers, {plain(measured.whole_ms)} ms in one piece here; "
        f"a device × {situation.speed_factor:g}, the cloud × {situation.cloud_speed_factor:g}, "
        f"round trip {plain(situation.round_trip_ms)} ms"
    )
    parts: list[Any] = [Text(about), _cuts(shown), _sweep(shown), Text(_gain(shown))]
    parts += [Text(f"no cut at {count} place{'s' if count > 1 else ''}: {reason}", "dim") for reason, count in measured.refused.items()]
    if not measured.examples:
        parts.append(Text("no evaluation data: nothing is sent in eight bits, whose accuracy could not be checked", "yellow"))
    return Group(*parts)


def _cuts(shown: Shown) -> Table:
    """A row for each cut: its sizes on the wire, and times as they are on the device and in the cloud."""
    table = Table("cut", "behind", "as it is", "uint8", "deflated", "device ms", "cloud ms", "accuracy", box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    used = {offer.cut.layers for piece in shown.plan.choice.pieces if (offer := shown.plan.offers[piece.way]).cut}
    for cut in shown.measured.cuts:
        device_ms, cloud_ms = cut.head_ms * shown.situation.speed_factor, cut.tail_ms * shown.situation.cloud_speed_factor
        whole, quantised = _form(cut, False, False), _form(cut, True, False)
        deflated = _form(cut, quantised is not None, True)
        style = "bold" if cut.layers in used else ""
        table.add_row(
            str(cut.layers),
            cut.layer,
            _size(whole),
            _size(quantised),
            _size(deflated),
            plain(device_ms),
            plain(cloud_ms),
            Text(_accuracy(quantised or whole), "" if quantised is None or keeps(quantised, shown.measured, shown.situation) else "red"),
            style=style,
        )
    device_ms = shown.measured.whole_ms * shown.situation.speed_factor
    last = str(shown.measured.layers), "all", "–", "–", "–", plain(device_ms), "–", percent(shown.measured.accuracy)
    table.add_row(*last, style="bold" if any(shown.plan.offers[piece.way].cut is None for piece in shown.plan.choice.pieces) else "")
    return table


def _form(cut: MeasuredCut, quantised: bool, deflated: bool) -> Form | None:
    return next((it for it in cut.forms if (it.wire.is_quantised, it.wire.deflate) == (quantised, deflated)), None)


def _size(form: Form | None) -> str:
    return "–" if form is None else in_bytes(form.sent_bytes)


def _accuracy(form: Form | None) -> str:
    return percent(form.accuracy if form else None)


def _sweep(shown: Shown) -> Table:
    table = Table("Mbit/s", "fastest", "ms", "on the device", "in the cloud", "gain", box=None, pad_edge=False)
    for column in (table.columns[0], *table.columns[2:]):
        column.justify = "right"
    for row in sweep_rows(shown):
        table.add_row(
            plain(row["megabits_per_second"]),
            row["way"],
            plain(row["latency_ms"]),
            plain(row["local_ms"]),
            plain(row["cloud_ms"]),
            f"{row['gain']:.2f}×",
        )
    return table


def sweep_rows(shown: Shown) -> list[dict[str, Any]]:
    """By bandwidth: the fastest way, its latency, the extremes', and how many times as long the better of these takes."""
    rows = []
    for bandwidth in shown.sweep:
        best_ms, local_ms, cloud_ms = shown.plan.latency_ms(bandwidth)
        way = shown.plan.choice.ways[shown.plan.choice.best(bandwidth)].name
        gain = min(local_ms, cloud_ms) / best_ms if best_ms else 1.0
        rows.append(
            {
                "megabits_per_second": bandwidth,
                "way": way,
                "latency_ms": best_ms,
                "local_ms": local_ms,
                "cloud_ms": cloud_ms,
                "gain": gain,
            }
        )
    return rows


def gains(shown: Shown) -> dict[str, float]:
    """Geometric means over the sweep, of how many times as long each extreme and the better of both takes."""
    found: dict[str, list[float]] = {"local": [], "cloud": [], "better": []}
    for row in sweep_rows(shown):
        best_ms = row["latency_ms"]
        for name, other_ms in (("local", row["local_ms"]), ("cloud", row["cloud_ms"]), ("better", min(row["local_ms"], row["cloud_ms"]))):
            found[name].append(math.log(other_ms / best_ms) if best_ms else 0.0)
    return {name: math.exp(sum(logs) / len(logs)) for name, logs in found.items()}


def _gain(shown: Shown) -> str:
    mean = gains(shown)
    text = (
        f"over this sweep {mean['local']:.2f}× as fast as all on the device, {mean['cloud']:.2f}× as all in the cloud, "
        f"{mean['better']:.2f}× as the better of both (geometric means)"
    )
    if all(not (offer := shown.plan.offers[piece.way]).cut or not offer.cut.layers for piece in shown.plan.choice.pieces):
        text += "\nno cut is faster than the better of both at any bandwidth"
    return text


def as_data(shown: Shown) -> dict[str, Any]:
    """What `--json` prints: every figure, unrounded. A bandwidth without an end is null."""
    plan = shown.plan
    return {
        "model": shown.model,
        "recipe": shown.recipe,
        "release": str(shown.release),
        "situation": asdict(shown.situation),
        "whole_ms": shown.measured.whole_ms,
        "layers": shown.measured.layers,
        "evaluation_examples": shown.measured.examples,
        "metric": shown.measured.metric,
        "accuracy": shown.measured.accuracy,
        "cuts": [asdict(cut) for cut in shown.measured.cuts],
        "refused": dict(shown.measured.refused),
        "ways": [{**asdict(offer.way), "layers": _layers(offer.cut, shown.measured), "accuracy": offer.accuracy} for offer in plan.offers],
        "choice": [
            {name: value if not isinstance(value, float) or math.isfinite(value) else None for name, value in asdict(piece).items()}
            for piece in plan.choice.pieces
        ],
        "sweep": sweep_rows(shown),
        "gain": gains(shown),
    }


def _layers(cut: MeasuredCut | None, measured: Measured) -> int:
    return measured.layers if cut is None else cut.layers
