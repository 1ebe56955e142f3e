"""Changing what a fleet is told: pause, resume, promote, abort. What changed, as a value and in words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import explained, fleet_of, founded, keyring_of, located_of, with_keys
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.publish import Change, assignment_in, next_number, publish
from isthmus.repository.reading import check_not_expired
from isthmus_agent.formats import digests
from isthmus_agent.formats.assignment import Assignment

Words = Callable[[Assignment, Assignment], str]


@dataclass(frozen=True)
class Changed:
    """before, after: the same where there was nothing to do."""

    before: Assignment
    after: Assignment

    def lines(self, consequence: Words) -> str:
        """Numbers and open waves, old and new, and what follows. consequence: of what is told now, after what was."""
        if self.before == self.after:
            return f"{self.after.fleet}: nothing to do: {_numbers(self.after, self.after)}; {_is_paused(self.after)}"
        return f"{self.after.fleet}: {_numbers(self.before, self.after)}\n{consequence(self.before, self.after)}"


def change(place: Place, keyring: Keyring, fleet: str, by: Change) -> Changed:
    """Tells a fleet something else, unless it is told that already.

    Raises IsthmusError: no repository, keys that are not here, signatures of the offline keys that have expired, somebody else who
    publishes in the same moment.
    """
    current = founded(place, keyring)
    told = assignment_in(current.delegated[fleet], fleet) if fleet in current.delegated else None
    if told and by(told, next_number(keyring, fleet, told)) == told:
        return Changed(told, told)
    check_not_expired(current)
    seen: list[Assignment] = []

    def recording(told: Assignment | None, number: int) -> Assignment:
        found = by(told, number)
        seen.extend([told] if told else [])
        return found

    after = publish(place, keyring, fleet, recording).assignment
    return Changed(seen[-1], after)


def run_change(options: Repository, fleet: str, keys: Sequence[str], by: Change, consequence: Words) -> None:
    """A command that changes what a fleet is told: prints what changed. Raises IsthmusError."""
    from rich.console import Console

    keyring = keyring_of(options)
    fleet = fleet_of(keyring, fleet)
    keyring = with_keys(keyring, keys)
    found = located_of(options, [fleet])
    with explained(options.keys, found.where):
        changed = change(found.place, keyring, fleet, by)
    Console().print(changed.lines(consequence), markup=False, highlight=False, soft_wrap=True)


def after_pause(before: Assignment, after: Assignment) -> str:
    return "paused: devices begin nothing new until `isthmus fleet resume`"


def after_resume(before: Assignment, after: Assignment) -> str:
    return f"devices go on with {contents(after)}"


def after_promote(before: Assignment, after: Assignment) -> str:
    if after.passed_seconds is not None:
        return f"{contents(after)} is the fleet's: a release that comes next leaves it to whom it does not reach yet"
    return f"wave {after.waves[after.open_waves - 1].name} is open{'; ' + _is_paused(after) if after.paused else ''}"


def after_abort(before: Assignment, after: Assignment) -> str:
    number = before.before.number if before.before else 0
    return f"every device goes back to the content of number {number}: {contents(after)}"


def contents(told: Assignment) -> str:
    """Such as `91a0c2d3e4f5`, or by class."""
    if len(told.variants) == 1:
        return digests.shown(told.variants[0].digest)
    return ", ".join(f"{it.device_class}: {digests.shown(it.digest)}" for it in told.variants)


def _is_paused(told: Assignment) -> str:
    return "it is paused: devices begin nothing until `isthmus fleet resume`" if told.paused else "it is not paused"


def _numbers(before: Assignment, after: Assignment) -> str:
    names = ", ".join(wave.name for wave in after.waves[: after.open_waves]) or "none"
    waves = f"open waves {_step(before.open_waves, after.open_waves)} of {len(after.waves)} ({names})"
    return f"number {_step(before.number, after.number)}, {waves}"


def _step(before: int, after: int) -> str:
    return f"{after}" if before == after else f"{before} → {after}"
