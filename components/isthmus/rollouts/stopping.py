"""How a rollout stops before its end, and how that reads. What devices say is printable and bounded here."""

from collections.abc import Iterator, Sequence

from isthmus.errors import IsthmusError
from isthmus.rollouts.standing import Group, Standing
from isthmus_agent.formats import digests
from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.contents import Variant

_MOST_GROUPS = 5
_MOST_NAMES = 5


class RolloutStoppedError(IsthmusError):
    """A rollout does not go on by itself. standing: when that was found."""

    def __init__(self, text: str, standing: Standing) -> None:
        super().__init__(text)
        self.standing = standing


class RolloutAbortedError(RolloutStoppedError):
    """The release is bad: devices go back to the one before. number: of the assignment that says so."""

    def __init__(self, text: str, standing: Standing, number: int) -> None:
        super().__init__(text, standing)
        self.number = number


class RolloutPausedError(RolloutStoppedError):
    """Somebody has to look: devices begin nothing new until `isthmus fleet resume`."""


class RolloutReplacedError(IsthmusError):
    """Somebody else told the fleet something else meanwhile."""


def aborted(standing: Standing, number: int) -> RolloutAbortedError:
    """After an assignment of that number has taken the release back."""
    then = f"; every device goes back to {_shown(standing.before)} under number {number}"
    return RolloutAbortedError(_text(standing, "is aborted", then), standing, number)


def paused(standing: Standing, *, nothing_before: bool = False) -> RolloutPausedError:
    """After the rollout was paused because its gate says so. nothing_before: it would be aborted, and there is nothing to go back to."""
    if nothing_before:
        then = "; no release came to its end on this fleet before, so that there is none to go back to. Fix: bring a better one"
        return RolloutPausedError(_text(standing, "fails, and is paused", then), standing)
    then = f"; devices begin nothing new. Fix: look at them, and then: isthmus fleet resume {standing.fleet}, or promote, or abort"
    return RolloutPausedError(_text(standing, "is paused", then), standing)


def paused_by_somebody(standing: Standing) -> RolloutPausedError:
    """What was found paused."""
    then = f". Fix: isthmus fleet resume {standing.fleet} goes on; promote and then resume opens the next wave whatever its gate says"
    return RolloutPausedError(_text(standing, "was paused", then), standing)


def replaced(fleet: str, told: Assignment | None, found: Assignment | None) -> RolloutReplacedError:
    """told: what was rolled out; None: nothing was told when this began. found: what is in force."""
    was = f"number {told.number} was replaced by somebody else" if told else "somebody else was first"
    now = f"number {found.number} ({_shown(found.variants)}) is in force" if found else "it is told nothing now"
    fix = f"see what was done with isthmus fleet status {fleet}; then try again, or leave it so"
    return RolloutReplacedError(f"fleet {fleet}: {was} meanwhile: {now}. Fix: {fix}")


def _text(standing: Standing, what: str, then: str) -> str:
    verdict = standing.verdict
    where = f" in wave {verdict.wave}: {verdict.reason}" if verdict else ""
    head = f"fleet {standing.fleet}: number {standing.number} ({_shown(standing.contents)}) {what}{where}{then}"
    return "\n".join([head, *_devices(standing)])


def _devices(standing: Standing) -> Iterator[str]:
    groups = [*standing.failures, *standing.blocked]
    for group in groups[:_MOST_GROUPS]:
        yield f"  {_group(group)}"
    if len(groups) > _MOST_GROUPS:
        yield f"  and for {len(groups) - _MOST_GROUPS} other reasons"
    if standing.silent:
        yield f"  silent: {_names(standing.silent)}"
    if standing.unclear:
        yield f"  unclear: {_names(tuple(standing.unclear))}; {next(iter(standing.unclear.values()))}"


def _group(group: Group) -> str:
    said = f" ({group.example})" if group.example not in ("", group.reason) else ""
    return f"{group.outcome.replace('_', ' ')}, {group.reason}{said}: {_names(group.devices)}"


def _names(devices: Sequence[str]) -> str:
    more = f" and {len(devices) - _MOST_NAMES} more" if len(devices) > _MOST_NAMES else ""
    return ", ".join(devices[:_MOST_NAMES]) + more


def _shown(contents: Sequence[Variant]) -> str:
    return ", ".join(dict.fromkeys(digests.shown(it.digest) for it in contents))
