"""The plans of a stack as one table: the same rows and columns in the preview's log, in a terminal and on a page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from isthmus.words import in_columns, money
from isthmus_agent.formats import digests

NONE = "–"
CLOUD, EDGE = "cloud", "edge"


@dataclass(frozen=True)
class Row:
    """One service (`servers` replicas) or fleet (`servers` devices).

    p95_ms: predicted for a service, of one run on the measured machine for a fleet. utilisation: λ/(cμ), of a fleet unknown.
    cost, before: a month; before: of what is deployed, None where that is unknown or in another currency. known: whether
    anything is known of what is deployed.
    """

    name: str
    role: str
    digest: str
    accuracy: float | None
    size_bytes: int
    p95_ms: float
    servers: int
    utilisation: float | None
    cost: float
    currency: str
    before: float | None = None
    known: bool = False


@dataclass(frozen=True)
class Column:
    head: str
    about: str
    text: Callable[[Row], str]


def rows_of(services: Mapping[str, Mapping[str, Any]], fleets: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """A row for each that has a plan, services first.

    Args:
        services, fleets: name → outputs of the component; `digest` and `plan` are read.
    """
    found = []
    for role, items in ((CLOUD, services), (EDGE, fleets)):
        for name, outputs in sorted(items.items()):
            plan = outputs.get("plan") or {}
            if "cost_per_month" not in plan or "digest" not in outputs:
                continue
            found.append(
                Row(
                    name,
                    role,
                    str(outputs["digest"]),
                    plan.get("accuracy"),
                    int(plan["size_bytes"]),
                    float(plan["p95_ms"]),
                    int(plan["replicas"] if role == CLOUD else plan["devices"]),
                    plan.get("utilisation"),
                    float(plan["cost_per_month"]),
                    str(plan["currency"]),
                )
            )
    return found


def against(rows: Sequence[Row], deployed: Sequence[Row] | None) -> list[Row]:
    """The rows with what each cost before. deployed: of the stack as it is; None where that is unknown."""
    if deployed is None:
        return list(rows)
    then = {(row.role, row.name): row for row in deployed}

    def before(row: Row) -> float | None:
        old = then.get((row.role, row.name))
        return None if old is None or old.currency != row.currency else old.cost

    return [replace(row, before=before(row), known=True) for row in rows]


def change(row: Row) -> str:
    """Against what is deployed: `new`, `none`, `+65.70 (+33 %)`."""
    if not row.known:
        return NONE
    if row.before is None:
        return "new"
    difference = row.cost - row.before
    if abs(difference) < 0.005:
        return "none"
    return f"{difference:+,.2f}" + (f" ({100 * difference / row.before:+.0f} %)" if row.before else "")


COLUMNS = (
    Column("service", "name, and which role", lambda row: f"{row.name} ({row.role})"),
    Column("release", "the digest's first digits", lambda row: digests.shown(row.digest)),
    Column("accuracy", "on held-out examples", lambda row: NONE if row.accuracy is None else f"{100 * row.accuracy:.2f} %"),
    Column("MB", "of the variant that is served", lambda row: f"{row.size_bytes / 1e6:.3g}"),
    Column("p95 ms", "cloud: predicted, with waiting; edge: one run on the measured machine", lambda row: f"{row.p95_ms:.3g}"),
    Column("servers", "replicas, or devices", lambda row: str(row.servers)),
    Column("load", "share of the time that a server is busy", lambda row: NONE if row.utilisation is None else f"{row.utilisation:.0%}"),
    Column("a month", "cost, in the currency below", lambda row: money(row.cost)),
    Column("change", "of the cost, against what is deployed", change),
)

# The first columns are words, the others numbers, which stand to the right.
WORDS = 2


def total(rows: Sequence[Row]) -> str:
    """The last line: what all of it costs, and the change; nothing where the currencies differ."""
    currencies = {row.currency for row in rows}
    if len(currencies) != 1:
        return "" if not rows else "costs are in " + ", ".join(sorted(currencies))
    text = f"all: {money(sum(row.cost for row in rows))} {rows[0].currency} a month"
    if not any(row.known and row.before is not None for row in rows):
        return text
    difference = sum(row.cost - (row.before or 0.0) for row in rows)
    return f"{text} ({difference:+,.2f} against what is deployed)" if abs(difference) >= 0.005 else f"{text} (as deployed)"


def as_text(rows: Sequence[Row]) -> str:
    """The table in plain text, numbers to the right."""
    cells = [[column.head for column in COLUMNS], *([column.text(row) for column in COLUMNS] for row in rows)]
    return "\n".join([*in_columns(cells, words=WORDS), total(rows)])
