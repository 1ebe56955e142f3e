"""`isthmus fleet status`: what a fleet is told, as a value, as JSON and on a terminal."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isthmus.cli.commands.fleet.said import Seen, said
from isthmus.cli.commands.fleet.standing_view import STYLES
from isthmus.cli.shared.repositories import Located, days_left, founded
from isthmus.fleet.budgets import figure
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import TOP_ROLES
from isthmus.repository.publish import assignment_in
from isthmus.repository.reading import expiries
from isthmus.rollouts.standing import Standing
from isthmus.words import duration, in_bytes
from isthmus_agent.formats import digests
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Wave
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.numbers import MILLION
from isthmus_agent.formats.samples_wanted import SamplesWanted, key_text
from isthmus_agent.formats.turns import Turns


@dataclass(frozen=True)
class Told:
    """assignment: None: nothing yet. expires: of the roles that a device of the fleet reads."""

    fleet: str
    where: str
    assignment: Assignment | None
    expires: Mapping[str, datetime]

    def expired(self, now: datetime) -> list[str]:
        """Roles for which devices follow nothing newer until they are signed anew."""
        return [role for role, expires in self.expires.items() if expires <= now]


def read_told(found: Located, keyring: Keyring, fleet: str) -> Told:
    """What a fleet is told, checked as a device checks it. Raises IsthmusError."""
    current = founded(found.place, keyring)
    metadata = current.delegated.get(fleet)
    its = {role: expires for role, expires in expiries(current).items() if role in {*TOP_ROLES, fleet}}
    return Told(fleet, found.where, assignment_in(metadata, fleet) if metadata else None, its)


def data(told: Told, seen: Seen | None = None) -> dict[str, Any]:
    """For JSON. `assignment` is what is signed, as it stands there; `standing`: see `isthmus.rollouts.standing.Standing.data`."""
    its = told.assignment
    waves = [{"name": wave.name, "is_open": index < its.open_waves} for index, wave in enumerate(its.waves)] if its else []
    return {
        "fleet": told.fleet,
        "store": told.where,
        "assignment": its.to_value() if its else None,
        "waves": waves,
        "standing": seen.standing.data() if seen else None,
        "not_read": seen.why_not if seen else "",
        "expires": {role: expires.isoformat() for role, expires in told.expires.items()},
    }


def rendered(told: Told, now: datetime, seen: Seen | None = None) -> RenderableType:
    """A title, facts, and a row for each wave; fits a terminal of 80 columns."""
    its = told.assignment
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for label, text in [("store", told.where), *(_facts(its) if its else [("told", "nothing yet: no release was published")])]:
        facts.add_row(label, Text(text))
    soonest = min(told.expires, key=lambda role: told.expires[role])
    is_well = not told.expired(now)
    first = f"{soonest} {'expires ' if is_well else 'has '}{days_left(told.expires[soonest], now)}"
    fix = "" if is_well else ": no device follows anything newer; isthmus fleet refresh"
    facts.add_row("signed", Text(first + fix, style="" if is_well else "red"))
    title = f"fleet · {told.fleet}" + (f" · number {its.number}" if its else "")
    rows = [facts, *([_waves(its, seen.standing if seen else None)] if its else []), *([said(seen)] if seen else [])]
    return Group(Text(title, style="bold"), *(Padding(row, (0, 0, 0, 2)) for row in rows))


def _facts(its: Assignment) -> Iterator[tuple[str, str]]:
    for index, variant in enumerate(its.variants):
        yield "content" if not index else "", _variant(variant)
    if its.before:
        contents = ", ".join(dict.fromkeys(digests.shown(it.digest) for it in its.before.variants))
        yield "before", f"{contents} (number {its.before.number}), which devices outside of the open waves keep"
    if its.deltas:
        smallest, largest = (in_bytes(pick(it.bytes for it in its.deltas)) for pick in (min, max))
        yield "deltas", f"{len(its.deltas)}, {smallest} to {largest}" if len(its.deltas) > 1 else f"1, {smallest}"
    yield "probation", ", ".join(_probation(its))
    if its.window:
        window = its.to_value()["window"]
        yield "window", f"{window['from']} to {window['to']} UTC, spread over {its.window.jitter_seconds} s"
    if its.turns:
        yield "budget", _budget(its.turns)
    if its.samples:
        yield "samples", _samples(its.samples)
    yield "paused", "yes: devices begin nothing new; isthmus fleet resume" if its.paused else "no"


def _budget(turns: Turns) -> str:
    most, label = figure(turns.budget), turns.budget.label
    return f"{most} of the devices with the same {label} at once; whose turn comes is signed by `up`, or isthmus fleet watch"


def _samples(wanted: SamplesWanted) -> str:
    labels = ", ".join(f"{key}={value}" for key, value in sorted(wanted.labels.items()))
    whom = f" with {labels}" if labels else ""
    share = f"{100 * wanted.share_millionths / MILLION:g} % of requests, {wanted.most_per_day} a day at most"
    return f"{share}, of each device{whom}; to {key_text(wanted.owner_key)}"


def _variant(variant: Variant) -> str:
    whom = "" if variant.device_class == "*" else f"{variant.device_class}: "
    return f"{whom}{digests.shown(variant.digest)}, {in_bytes(variant.bytes)}"


def _probation(its: Assignment) -> Iterator[str]:
    probation = its.probation
    yield f"{probation.seconds} s"
    yield f"{probation.max_crashes} crash{'' if probation.max_crashes == 1 else 'es'} at most"
    if probation.max_p95_microseconds is not None:
        yield f"p95 {probation.max_p95_microseconds / 1000:g} ms"
    if probation.max_rss_bytes is not None:
        yield f"memory {in_bytes(probation.max_rss_bytes)}"
    if probation.max_distribution_distance_millionths is not None:
        yield f"predictions moved by {probation.max_distribution_distance_millionths / MILLION:g}"


def _waves(its: Assignment, standing: Standing | None) -> Table:
    found = Table("wave", "state", "devices", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for index, wave in enumerate(its.waves):
        state = standing.waves[index].state if standing else "open" if index < its.open_waves else "closed"
        found.add_row(Text(wave.name), Text(state, style=STYLES[state]), Text(_whom(wave)))
    return found


def _whom(wave: Wave) -> str:
    labels = ", ".join(f"{key}={value}" for key, value in sorted(wave.labels.items()))
    with_labels = f" with {labels}" if labels else ""
    parts = []
    if wave.share == WHOLE_SHARE:
        parts.append(f"all{with_labels}")
    elif wave.share:
        parts.append(f"{100 * wave.share / WHOLE_SHARE:.3g} % by draw{with_labels}")
    if wave.devices:
        shown = ", ".join(wave.devices[:3])
        parts.append(shown + (f" and {len(wave.devices) - 3} more" if len(wave.devices) > 3 else ""))
    if wave.pace:
        parts.append(f"{wave.pace.most_per_minute:,} a minute" + (f", over {duration(wave.pace.seconds)}" if wave.pace.seconds else ""))
    return "; ".join(parts) or "none"
