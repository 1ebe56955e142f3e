"""What a device does about an assignment that it has just looked at."""

from isthmus_agent.core.effects import Cancel, Fetch, Sweep
from isthmus_agent.core.state import Phase, Verdict
from isthmus_agent.core.turn import Turn
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, draw
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.report import Outcome, Reason
from isthmus_agent.formats.window import Window


def plan(turn: Turn, assignment: Assignment) -> None:
    """The next move towards the assignment. It is the only way into a trial: what was withdrawn meanwhile is seen here."""
    state, device = turn.state, turn.state.device
    wanted = assignment.wanted(device.name, device.labels, device.device_class)
    variant = wanted.variant if wanted else None
    digest = variant.digest if variant else None
    turn.set(target=wanted)
    if state.fetching is not None and state.fetching != digest:
        turn.do(Cancel(state.fetching))
        turn.set(fetching=None)
    if state.kept.trial is not None and state.kept.trial != digest:
        turn.leave_trial(None)
        turn.set(poll_at=turn.now)
    elif wanted is None:
        turn.set(failures=0)
        turn.rest()
    elif variant is None:
        turn.set(phase=Phase.BLOCKED)
        turn.say(wanted.number, "", Outcome.BLOCKED, Reason.NO_VARIANT)
    elif state.kept.trial == digest:
        _go_on(turn, assignment, wanted.number)
    elif (verdict := state.kept.verdict) and (verdict.number, verdict.digest) == (wanted.number, digest) and verdict.is_against:
        turn.say_verdict(verdict)
    elif state.kept.current == digest and digest in state.held:
        _settle(turn, wanted.number, variant.digest)
    elif assignment.paused:
        turn.rest()
    elif digest in state.held:
        _begin_trial(turn, assignment, wanted.number, variant.digest)
    elif state.fetching is None and _begins_in_seconds(turn, assignment, wanted.number) > 0:
        turn.set(phase=Phase.WAITING)  # it says nothing yet: who is heard of has begun
    else:
        fetch(turn, assignment, wanted.number, variant)


def _go_on(turn: Turn, assignment: Assignment, number: int) -> None:
    turn.set(phase=Phase.TRIAL)
    kept = turn.state.kept
    if (kept.trial_number, kept.probation) != (number, assignment.probation):
        turn.keep(trial_number=number, probation=assignment.probation)


def _begins_in_seconds(turn: Turn, assignment: Assignment, number: int) -> float:
    """How long it is until this device may begin, by the pace of its wave.

    By the time of day, and, where that is not known or somebody's clock is wrong, no longer than if the wave had been opened when the
    device first saw it open: nobody's clock keeps a release from a device. No look is taken earlier for it: devices that may begin in the
    same minute begin at their own next look.
    """
    device = turn.state.device
    begins = assignment.begins(device.name, device.labels) if number == assignment.number else None
    if begins is None:
        return 0.0
    opened_seconds, later_seconds = begins
    seen = turn.state.seen_open
    if seen is None or seen[:2] != (number, opened_seconds):
        turn.set(seen_open=(seen := (number, opened_seconds, turn.now)))
    utc_seconds = turn.state.kept.time_floor if turn.utc_seconds is None else turn.utc_seconds
    return min(opened_seconds + later_seconds - utc_seconds, seen[2] + later_seconds - turn.now)


def _settle(turn: Turn, number: int, digest: str) -> None:
    """The device has what it is to have."""
    if turn.state.served != digest:
        turn.rest()
        return
    turn.set(failures=0)
    verdict = Verdict(number, digest, Outcome.CONFIRMED)
    if turn.state.kept.verdict != verdict:
        turn.keep(current_number=number, verdict=verdict)
    turn.say_verdict(verdict)


def _begin_trial(turn: Turn, assignment: Assignment, number: int, digest: str) -> None:
    wait_seconds = _wait_seconds(turn, assignment)
    if wait_seconds > 0:
        turn.set(phase=Phase.WAITING, poll_at=min(turn.state.poll_at, turn.now + wait_seconds))
        reason = Reason.CLOCK if turn.utc_seconds is None else Reason.NONE
        turn.say(number, digest, Outcome.BLOCKED if reason else Outcome.UPDATING, reason)
        return
    turn.set(phase=Phase.TRIAL, deadline=None, crashes=0, crashed_at=None)
    turn.keep(trial=digest, trial_number=number, trial_boots=0, trial_reboots=0, crashes=0, probation=assignment.probation)
    turn.serve(digest)
    turn.say(number, digest, Outcome.UPDATING)


def _wait_seconds(turn: Turn, assignment: Assignment) -> float:
    """How long it is until this device may change what it serves. Without the time of day a device waits for a day, and no longer."""
    if assignment.window is None:
        return 0.0
    if turn.utc_seconds is not None:
        turn.set(waiting_until=None)
        return _own_window(assignment.window, assignment.salt, turn.state.device.name).opens_in_seconds(turn.utc_seconds)
    until = turn.state.waiting_until if turn.state.phase is Phase.WAITING else None
    if until is None:  # it may have known the time until now
        until = turn.now + turn.state.settings.clockless_wait_seconds
        turn.set(waiting_until=until)
    return max(0.0, until - turn.now)


def _own_window(window: Window, salt: str, device: str) -> Window:
    """The device's own part of the window: it begins later by the device's share of the jitter, a minute before the end at the latest."""
    minutes = min(window.jitter_seconds, window.length_seconds - 60) * draw(f"{salt}/window", device) // WHOLE_SHARE // 60
    return Window((window.from_minute + minutes) % 1440, window.to_minute)


def fetch(turn: Turn, assignment: Assignment, number: int, variant: Variant) -> None:
    """Has a content fetched, unless it already is. What neither is served nor may be again makes room for it."""
    turn.set(phase=Phase.DOWNLOADING)
    turn.say(number, variant.digest, Outcome.UPDATING)
    if turn.state.fetching == variant.digest:
        return
    sweep(turn, variant.digest)
    is_whole = turn.state.whole_only == variant.digest
    deltas = () if is_whole else tuple(it for it in assignment.deltas_to(variant.digest) if it.from_ in turn.state.held)
    turn.do(Fetch(variant, deltas))
    turn.set(fetching=variant.digest)


def sweep(turn: Turn, *more: str) -> None:
    """Removes what is neither confirmed, nor on trial, nor the one before, nor one of `more`, and keeps what is served in any case."""
    kept = turn.state.kept
    keep = frozenset(it for it in (kept.current, kept.previous, kept.trial, turn.state.served, *more) if it is not None)
    turn.do(Sweep(keep))
    turn.set(held=turn.state.held & keep)
