"""One page about a fleet's rollout: its waves, a cell for each device, gates with their evidence, versions, failures, who is silent."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from isthmus.pages.cells import PITCH, Cells, cells
from isthmus.pages.live import SCRIPT
from isthmus.pages.rendering import style, template
from isthmus.words import duration, percent
from isthmus_agent.formats import digests

CLOSED: Final = "closed"
STATES: Final[Mapping[str, str]] = {
    "confirmed": "confirmed",
    "soaking": "soaking",
    "updating": "on the way",
    "failed": "failed",
    "blocked": "blocked",
    "unclear": "unclear",
    "silent": "silent",
    "later": "not due yet",
    CLOSED: "not begun",
}
"""What a device of a wave may be at, in words. Every one has a shape of its own beside its colour."""
_TEMPLATE: Final = "fleet.html.j2"
_MOST_OUT: Final = 5


@dataclass(frozen=True)
class WaveView:
    """counts: devices by state. shares: a piece of the bar for each: state, from, width, in hundredths. facts: evidence by its name."""

    name: str
    state: str
    devices: int
    counts: Mapping[str, int]
    shares: tuple[tuple[str, float, float], ...]
    cells: Cells
    said: str
    when: str
    facts: tuple[tuple[str, str], ...]

    @property
    def about(self) -> str:
        """The drawing in words."""
        parts = ", ".join(f"{count} {STATES[state]}" for state, count in self.counts.items() if count)
        return f"wave {self.name}: {parts or 'no devices'}"


def html(standing: Mapping[str, Any], *, live: bool = False) -> str:
    """The page, complete. standing: `Standing.data()`. live: it asks the command that serves it for what is new.

    Raises PlatformError where the template engine is not installed.
    """
    return template("isthmus.pages", _TEMPLATE).render(**_values(standing, live=live), part="page", css=style() + _own_style())


def view(standing: Mapping[str, Any]) -> str:
    """What a live page has in place of what it shows. Raises PlatformError as `html`."""
    return template("isthmus.pages", _TEMPLATE).render(**_values(standing, live=True), part="view", css="")


def live_pages(standing: Mapping[str, Any]) -> tuple[str, str]:
    """A live page, and its view. Raises PlatformError as `html`."""
    return html(standing, live=True), view(standing)


def wave_view(wave: Mapping[str, Any]) -> WaveView:
    """A wave of `Standing.data()`, as it is shown."""
    devices, counts = wave["devices"], wave["counts"]
    if counts is None:
        counts = {CLOSED: devices}
    counts = {state: counts[state] for state in STATES if state in counts}
    pieces, at = [], 0.0
    for state, count in counts.items():
        width = 100 * count / max(devices, 1)
        if count:
            pieces.append((state, at, width))
        at += width
    verdict = wave["verdict"]
    said = f"{verdict['outcome']}: {verdict['reason']}" if verdict else ""
    return WaveView(wave["name"], wave["state"], devices, counts, tuple(pieces), cells(counts), said, _when(wave), tuple(_facts(wave)))


def turns(standing: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of devices that wait for their turn by a budget: the value of its label, and for whom they wait, in words."""
    found = standing["turns"]
    for it in found["values"] if found else ():
        out = it["out"]
        names = ", ".join(out["names"][:_MOST_OUT]) + _more(out, out["names"][:_MOST_OUT])
        whom = f"{found['label']} {it['value']}" if it["value"] else f"without {found['label']}"
        at_once = f"{it['most']:,} of {it['devices']:,} at once"
        yield whom, f"{it['waiting']:,} wait for their turn: {at_once}" + (f"; unavailable: {names}" if names else "")


def _own_style() -> str:
    return Path(__file__).with_name("fleet.css").read_text(encoding="utf-8")


def _values(standing: Mapping[str, Any], *, live: bool) -> dict[str, Any]:
    waves = [wave_view(it) for it in standing["waves"]]
    count = {state: sum(it.counts.get(state, 0) for it in waves) for state in STATES}
    return {
        "standing": standing,
        "script": SCRIPT if live else "",
        "at": _time(standing["at_seconds"]),
        "passed": _time(standing["passed_seconds"]) if standing["passed_seconds"] is not None else "",
        "waves": waves,
        "count": count,
        "states": STATES,
        "columns": [it for it in STATES if it != CLOSED and (it != "later" or count[it])],
        "confirmed": percent(count["confirmed"] / standing["devices"]) if standing["devices"] else "no devices",
        "passed_waves": sum(it.state == "passed" for it in waves),
        "versions": _versions(standing),
        "contents": [(it["class"], it["digest"]) for it in standing["contents"]],
        "turns": [*turns(standing)],
        "pitch": PITCH,
        "more": _more,
    }


def _versions(standing: Mapping[str, Any]) -> list[tuple[str, str, int, str]]:
    """Digest, what it is to this rollout, devices, their share."""
    ours, before = ({it["digest"] for it in standing[which]} for which in ("contents", "before"))
    rows = [(it["digest"], it["devices"]) for it in standing["versions"]]
    known = sum(devices for _, devices in rows)
    whole = max(standing["devices"], 1)
    found = [
        (
            digests.shown(it),
            "this release" if it in ours else "the one before" if it in before else "another",
            devices,
            percent(devices / whole),
        )
        for it, devices in rows
    ]
    rest = standing["devices"] - known
    return [*found, ("", "not said", rest, percent(rest / whole))] if rest > 0 and standing["is_read"] else found


def _when(wave: Mapping[str, Any]) -> str:
    if wave["opened_seconds"] is None:
        return ""
    open_for = f"open since {_time(wave['opened_seconds'])}"
    if pace := wave.get("pace"):
        open_for += f"; {pace['most_per_minute']:,} devices a minute may begin, the last {duration(pace['seconds'])} after the opening"
    gate = wave["gate"]
    if not gate or wave["state"] != "waiting":
        return open_for
    return f"{open_for}; {duration(wave['elapsed_seconds'])} of the {duration(gate['deadline_seconds'])} after which silence is failure"


def _facts(wave: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The evidence, and what the gate asks for."""
    gate, evidence = wave["gate"], (wave["verdict"] or {}).get("evidence")
    if gate:
        yield "may fail", f"{gate['max_failure_percent']:g} % of its devices"
        yield "soak", duration(gate["soak_seconds"])
        yield "deadline", duration(gate["deadline_seconds"])
        yield (
            "not clear",
            f"{gate['when_unclear']}" + (f", passes at {gate['confidence_percent']:g} % confidence" if gate["confidence_percent"] else ""),
        )
    if evidence:
        yield "failures that count", f"{evidence['failures']} among {evidence['begun']} devices that have begun"
        yield "is stopped at", "no number of failures yet" if evidence["stops_at"] is None else f"{evidence['stops_at']} failures"
        yield (
            "passes with",
            f"{evidence['passes_with']} failures at most" if evidence["passes_with"] >= 0 else "no failures can be few enough",
        )
        yield "needs", f"{evidence['min_reports']} devices that say how it went"
        yield "late", "yes: silence is failure" if evidence["is_late"] else "no"


def _more(named: Mapping[str, Any], names: Sequence[str]) -> str:
    left = named["devices"] - len(names)
    return f" and {left:,} more" if left > 0 else ""


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
