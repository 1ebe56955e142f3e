"""Which variant of a release the devices of each class get, and why. Pure.

Each class is decided on its own, from what is offered to it: the variants that name it, or else those for every class (`*`). Of these, the
ones that its devices can hold and run are compared: the more accurate one, then the faster, then the smaller, then the one that is named
first. So a class that is added changes no other class's choice, and nothing that does not fit changes anything.

What a class does not say is not checked. A device decides for itself in the end: it tests what it got before it serves it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isthmus.errors import GateError, Problem
from isthmus.words import in_bytes, percent
from isthmus_agent.formats.contents import ANY_CLASS

SERVER_BYTES = 44_000_000
"""That a device's server fills with a model of a few kilobytes (RSS, measured on x86_64); a model comes on top."""
BUNDLES_KEPT = 3
"""On a device's disk while it updates: the one that is served, the one before it, and the next one."""


@dataclass(frozen=True)
class DeviceClass:
    """What the devices of a class have; None: not known. speed_factor: so many times as long as measured takes one run there."""

    name: str
    memory_bytes: float | None = None
    storage_bytes: float | None = None
    architecture: str | None = None
    operators: frozenset[str] | None = None
    speed_factor: float | None = None


@dataclass(frozen=True)
class Offer:
    """A release's edge variant for the devices of a class, `*` for all.

    bundle_bytes: of what a device keeps. shipped_bytes: of what it fetches. memory_bytes: that loading and running it adds to a process, 0
    where that is unknown. p95_ms: of one run, measured on `architecture`. place: where the program offers it.
    """

    device_class: str
    digest: str
    recipe: str
    bundle_bytes: int
    shipped_bytes: int
    memory_bytes: int
    operators: tuple[str, ...]
    p95_ms: float
    architecture: str
    accuracy: float | None
    place: str


@dataclass(frozen=True)
class Choice:
    """What the devices of a class get. reasons: lines, the first of which says what and why."""

    device_class: str
    offer: Offer
    reasons: tuple[str, ...]

    def explain(self) -> str:
        return "\n".join(self.reasons)


@dataclass(frozen=True)
class _Check:
    """said: need and what there is. fix: None: it is kept."""

    said: str
    fix: str | None = None


def choose(classes: Sequence[DeviceClass], offers: Sequence[Offer], path: str, objective_ms: float | None = None) -> tuple[Choice, ...]:
    """The choice for each class. objective_ms: that p95 has to keep on a device; None: none.

    Raises GateError with one problem for each class that nothing offered fits: with the numbers, and what would mend it.
    """
    found = [_chosen(it, offers, path, objective_ms) for it in classes]
    problems = [it for it in found if isinstance(it, Problem)]
    if problems:
        raise GateError(problems)
    return tuple(it for it in found if isinstance(it, Choice))


def _chosen(given: DeviceClass, offers: Sequence[Offer], path: str, objective_ms: float | None) -> Choice | Problem:
    own = [it for it in offers if it.device_class == given.name]
    offered = own or [it for it in offers if it.device_class == ANY_CLASS]
    checked = [(it, [*_checks(given, it, objective_ms)]) for it in offered]
    fitting = [(it, checks) for it, checks in checked if all(check.fix is None for check in checks)]
    out = [f"  {it.recipe} does not fit: {_misses(checks)}" for it, checks in checked if (it, checks) not in fitting]
    if not offered:
        return Problem(
            f"{path}.variants", f"no variant is for devices of class {given.name}", f'one for {given.name}, or for "*"', "add it"
        )
    if not fitting:
        offer, checks = checked[-1]
        what = "; ".join(f"{it.recipe} needs {_misses(checks)}" for it, checks in checked)
        fixes = " or ".join(dict.fromkeys(check.fix for check in checks if check.fix))
        return Problem(offer.place, f"devices of class {given.name}: {what}", "a variant that fits them", fixes)
    best, checks = min(fitting, key=lambda it: _rank(it[0]))
    known = ", ".join(check.said for check in checks) or "nothing is known of what they have"
    beaten = [f"  better than {it.recipe}: {_better(best, it)}" for it, _ in fitting if it is not best]
    return Choice(given.name, best, (f"{given.name}: {best.recipe} ({known})", *beaten, *out))


def _rank(offer: Offer) -> tuple[float, float, int]:
    """The less, the better; of equals the first counts. An accuracy that nobody knows is none."""
    return (math.inf if offer.accuracy is None else -offer.accuracy, offer.p95_ms, offer.shipped_bytes)


def _better(best: Offer, other: Offer) -> str:
    if best.accuracy != other.accuracy:
        return f"accuracy {percent(best.accuracy)} against {percent(other.accuracy)}"
    if best.p95_ms != other.p95_ms:
        return f"p95 {best.p95_ms:.3g} ms against {other.p95_ms:.3g} ms, measured"
    if best.shipped_bytes != other.shipped_bytes:
        return f"{in_bytes(best.shipped_bytes)} against {in_bytes(other.shipped_bytes)}"
    return "it is named first"


def _misses(checks: Sequence[_Check]) -> str:
    return ", ".join(check.said for check in checks if check.fix is not None)


def _checks(given: DeviceClass, offer: Offer, objective_ms: float | None) -> Iterator[_Check]:
    """What a class is asked, of what it says."""
    where = f"classes.{given.name}"
    smaller = f"offer class {given.name} a recipe that makes a smaller file"
    if given.memory_bytes is not None:
        need = SERVER_BYTES + offer.memory_bytes
        unknown = "" if offer.memory_bytes else " and what the model adds, which is not known"
        yield _sized("memory", need, given.memory_bytes, f"raise {where}.memory_megabytes, or {smaller}", unknown)
    if given.storage_bytes is not None:
        need = BUNDLES_KEPT * offer.bundle_bytes + offer.shipped_bytes
        yield _sized("storage", need, given.storage_bytes, f"raise {where}.storage_megabytes, or {smaller}")
    if given.operators is not None:
        missing = sorted({*offer.operators} - given.operators)
        if missing:
            fix = f"add {'it' if len(missing) == 1 else 'them'} to {where}.operators, or offer another recipe"
            yield _Check(f"the operator{'s' * (len(missing) > 1)} {', '.join(missing)}, which they do not have", fix)
        else:
            yield _Check(f"all of its {len(offer.operators)} operators")
    yield from _speed(given, offer, objective_ms)


def _sized(what: str, need: float, there: float, fix: str, unknown: str = "") -> _Check:
    said = f"{in_bytes(need)} of {what}{unknown}, of {in_bytes(there)}"
    return _Check(said, None if need <= there else fix)


def _speed(given: DeviceClass, offer: Offer, objective_ms: float | None) -> Iterator[_Check]:
    factor = given.speed_factor
    if factor is None:
        if objective_ms is not None:
            where = f", and theirs is {given.architecture}" if given.architecture not in (None, offer.architecture) else ""
            yield _Check(f"p95 not known without a speed_factor: it was measured on {offer.architecture}{where}")
        return
    said = f"p95 {factor * offer.p95_ms:.3g} ms ({offer.p95_ms:.3g} ms × {factor:g})"
    if objective_ms is None:
        yield _Check(said)
        return
    fix = f"offer class {given.name} a faster recipe, or raise probation.max_p95_ms"
    is_kept = factor * offer.p95_ms <= objective_ms
    yield _Check(f"{said}, of {objective_ms:g} ms", None if is_kept else fix)
