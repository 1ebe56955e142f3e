"""The core's one function: what an event makes of a state, and what has to be done."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from isthmus_agent.core import events, probation
from isthmus_agent.core.causes import TOLD, Failure, failure_of
from isthmus_agent.core.effects import Check, Effect, Fetch, Measure, Persist, Say, Serve
from isthmus_agent.core.events import Event
from isthmus_agent.core.plan import fetch, plan, sweep
from isthmus_agent.core.state import Device, Kept, Moment, Phase, Settings, State, Verdict
from isthmus_agent.core.turn import Turn
from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.report import Outcome, Reason

_RESTING = (Phase.IDLE, Phase.CONFIRMED, Phase.ROLLED_BACK, Phase.UNFIT, Phase.BLOCKED)
Step = tuple[State, tuple[Effect, ...]]


def step(state: State, event: Event, now: Moment) -> Step:
    """The state after an event, and the effects in the order in which they have to be done."""
    turn = Turn(state, now)
    if not isinstance(event, events.PersistFailed):
        turn.set(is_retreat=False)
    _HANDLERS[type(event)](turn, event)
    return turn.state, tuple(turn.effects)


def start(
    device: Device,
    settings: Settings,
    kept: Kept,
    now: Moment,
    *,
    held: frozenset[str],
    seed: str,
    is_lost: bool = False,
    boot_id: str = "",
) -> Step:
    """The state of a program that begins, from what the disk kept. held: the slots that were verified just now.

    is_lost: nothing on the disk says which numbers were seen, and yet it is not new. boot_id: of the machine's life; empty: not known.
    """
    before, began = kept, now.seconds
    kept = replace(kept, boots=kept.boots + 1, boot_id=boot_id, is_stopped=False)
    turn = Turn(State(device, settings, kept, held, seed, began=began, poll_at=began, is_lost=is_lost, crashes=kept.crashes), now)
    _forget_missing(turn)
    kept = turn.state.kept
    if kept.trial is not None:
        is_reboot = bool(before.boot_id and boot_id) and boot_id != before.boot_id
        boots = kept.trial_boots + (not before.is_stopped and not is_reboot)
        reboots = kept.trial_reboots + (not before.is_stopped and is_reboot)
        is_blamed = boots > settings.most_trial_boots
        if is_blamed or reboots > settings.most_trial_reboots:
            outcome = Outcome.ROLLED_BACK if is_blamed else Outcome.BLOCKED
            turn.leave_trial(Verdict(kept.trial_number, kept.trial, outcome, Reason.RESTARTED_TOO_OFTEN))
            return turn.state, tuple(turn.effects)
        # A trial is begun again only once its start is counted: else a model that takes the machine down would do so for ever.
        turn.set(phase=Phase.TRIAL)
        turn.keep(trial_boots=boots, trial_reboots=reboots)
    else:
        turn.keep_anyway()
    if turn.state.to_serve is not None:
        turn.serve(turn.state.to_serve)
    return turn.state, tuple(turn.effects)


def _forget_missing(turn: Turn) -> None:
    """Goes on without slots that the disk lost. The content is then fetched again like any other."""
    kept, held = turn.state.kept, turn.state.held
    if kept.trial not in held:
        kept = replace(kept, trial=None, trial_number=0, trial_boots=0)
    if kept.previous not in held:
        kept = replace(kept, previous=None, previous_number=0)
    if kept.current not in held:
        lost = kept.current
        kept = replace(kept, current=kept.previous, current_number=kept.previous_number, previous=None, previous_number=0, crashes=0)
        if kept.verdict and kept.verdict.digest == lost and not kept.verdict.is_against:
            kept = replace(kept, verdict=None)
    turn.set(kept=kept)


def wakes_at(state: State) -> float:
    """When the next Tick is of use, in the seconds of `Moment`, unless another event comes first."""
    times = [state.said_at + state.settings.heartbeat_seconds] if state.said else []
    times += [] if state.looking else [state.poll_at]
    times += [state.save_at] if state.unsaved else []
    times += [state.serve_at] if _has_to_serve(state) else []
    times += [state.measure_at] if state.deadline is not None else []
    return min(times, default=state.poll_at)


def _has_to_serve(state: State) -> bool:
    if state.serving is not None or state.to_serve == state.served:
        return False
    # What took over after it was given up is ended, where nothing else is to be served.
    return state.to_serve is not None or state.served in state.held


def _tick(turn: Turn, _: events.Tick) -> None:
    state, now = turn.state, turn.now
    if state.unsaved and now >= state.save_at:
        turn.keep_anyway()
    if _has_to_serve(state) and now >= state.serve_at:
        turn.serve(state.to_serve)
    if state.deadline is not None and state.kept.trial is not None and state.served == state.kept.trial and now >= state.measure_at:
        after = now + state.settings.measure_seconds
        turn.set(measure_at=min(after, state.deadline) if now < state.deadline else after)
        turn.do(Measure(state.kept.trial))
    if not state.looking and now >= state.poll_at:
        _look(turn)
    if state.said and now - state.said_at >= state.settings.heartbeat_seconds:
        turn.set(said_at=now)
        turn.do(Say(state.said.number, state.said.digest, state.said.outcome, state.said.reason))


def _look(turn: Turn) -> None:
    turn.set(looking=True, phase=Phase.CHECKING if turn.state.phase in _RESTING else turn.state.phase)
    turn.do(Check(is_conditional=turn.state.assignment is not None))


def _looked(turn: Turn) -> None:
    turn.set(looking=False, poll_at=turn.now + turn.state.settings.poll_seconds * (0.9 + 0.2 * turn.draw()))
    if turn.state.phase is Phase.CHECKING:
        turn.rest()


def _checked(turn: Turn, event: events.Checked) -> None:
    state, kept, found = turn.state, turn.state.kept, event.assignment
    reason = refused(state, event)
    if reason:
        _check_failed(turn, events.CheckFailed(reason))
        return
    _looked(turn)
    if state.unsaved:  # a disk that takes nothing: there is no going forward
        return
    turn.set(assignment=found, is_lost=False)
    step_seconds = state.settings.time_floor_step_seconds
    is_anew = event.time_keys != kept.time_keys
    floor = event.utc_floor if is_anew or event.utc_floor >= kept.time_floor + step_seconds else kept.time_floor
    accepted = replace(kept, number=found.number, identity=found.identity, time_floor=floor, time_keys=event.time_keys)
    _plan_and_keep(turn, found, accepted)


def _plan_and_keep(turn: Turn, assignment: Assignment, accepted: Kept) -> None:
    before = turn.state.kept
    turn.set(kept=accepted)
    plan(turn, assignment)
    if accepted != before and not any(isinstance(effect, Persist) for effect in turn.effects):
        turn.keep()  # one write a step: where the plan has one, this is in it


def refused(state: State, event: events.Checked) -> Reason | None:
    """Why an assignment is not believed, although it is signed."""
    kept, found = state.kept, event.assignment
    if found.fleet != state.device.fleet:
        return Reason.UNTRUSTED_METADATA
    if found.number < kept.number or (state.is_lost and not event.is_fresh):
        return Reason.REPLAYED
    if found.number == kept.number and kept.identity and found.identity != kept.identity:
        return Reason.CONFLICTING_ASSIGNMENT
    return None


def _unchanged(turn: Turn, event: events.Unchanged) -> None:
    if turn.state.assignment is None:
        _check_failed(turn, events.CheckFailed(Reason.ODD_ANSWER))
        return
    _looked(turn)
    kept = turn.state.kept
    if event.utc_floor >= kept.time_floor + turn.state.settings.time_floor_step_seconds:
        # Else whoever holds back what is new has the whole of a timestamp's time again after each restart.
        kept = replace(kept, time_floor=event.utc_floor)
    if not turn.state.unsaved:
        _plan_and_keep(turn, turn.state.assignment, kept)


def _check_failed(turn: Turn, event: events.CheckFailed) -> None:
    _looked(turn)
    turn.set(poll_at=turn.now + turn.backoff_seconds())
    said = turn.state.said
    if event.reason in TOLD and said and not said.outcome.is_against_release:
        # It changes nothing of what the device has, and says nothing against a release; the next good look is said without it.
        turn.say(said.number, said.digest, said.outcome, event.reason, event.text)


def _fetched(turn: Turn, event: events.Fetched) -> None:
    turn.set(held=turn.state.held | {event.digest})
    if event.digest == turn.state.fetching:
        turn.set(fetching=None, failures=0, whole_only=None, phase=Phase.VERIFIED)
        if not turn.state.looking:  # right before the switch: it may have been withdrawn
            _look(turn)


def _fetch_failed(turn: Turn, event: events.FetchFailed) -> None:
    state, target = turn.state, turn.state.target
    if event.digest != state.fetching or target is None or target.variant is None:
        return
    turn.set(fetching=None)
    failure = failure_of(event.reason)
    if event.reason is Reason.DELTA_UNUSABLE and state.whole_only != event.digest and state.assignment:
        turn.set(whole_only=event.digest)
        fetch(turn, state.assignment, target.number, target.variant)
    elif failure is Failure.UNFIT:
        verdict = Verdict(target.number, event.digest, Outcome.UNFIT, event.reason)
        turn.say_verdict(verdict, event.text)
        turn.keep_anyway(verdict=verdict)
    elif failure is Failure.TRANSPORT:
        turn.try_again(event.reason, event.text, Outcome.UPDATING)
    else:
        turn.try_again(event.reason, event.text, Outcome.BLOCKED)
        if event.reason is Reason.DISK_FULL and state.kept.previous not in (None, state.served, state.kept.trial):
            # Removed before it is written down, which may need the room. A slot that is missing is nothing to a start.
            turn.set(kept=replace(turn.state.kept, previous=None, previous_number=0))
            sweep(turn, event.digest)
            turn.keep_anyway()


def _serving(turn: Turn, event: events.Serving) -> None:
    state, kept = turn.state, turn.state.kept
    turn.set(served=event.digest, serving=None if state.serving == event.digest else state.serving)
    if event.digest == kept.trial:
        if state.deadline is None:
            deadline = turn.now + kept.probation.seconds
            turn.set(deadline=deadline, measure_at=min(deadline, turn.now + state.settings.measure_seconds))
    elif state.target and state.target.variant and state.target.variant.digest == event.digest and state.phase is not Phase.CONFIRMED:
        turn.set(poll_at=turn.now)


def _serve_failed(turn: Turn, event: events.ServeFailed) -> None:
    state, kept = turn.state, turn.state.kept
    if state.serving == event.digest:
        turn.set(serving=None)
    is_damaged, failure = event.reason is Reason.DAMAGED_SLOT, failure_of(event.reason)
    if is_damaged:
        turn.set(held=state.held - {event.digest}, served=None if state.served == event.digest else state.served)
    if event.digest == kept.trial:
        if failure is Failure.UNFIT:
            outcome = Outcome.UNFIT if state.deadline is None else Outcome.ROLLED_BACK
            turn.leave_trial(Verdict(kept.trial_number, event.digest, outcome, event.reason), event.text)
        else:
            turn.leave_trial(None)
            turn.try_again(event.reason, event.text, Outcome.BLOCKED)
    elif event.digest == kept.current:
        turn.set(served=None if state.served == event.digest else turn.state.served)
        if failure is Failure.UNFIT and kept.previous in state.held:
            _go_back(turn, Verdict(kept.current_number, event.digest, Outcome.ROLLED_BACK, event.reason), event.text)
        elif is_damaged:
            _forget_missing(turn)
            if turn.state.to_serve:
                turn.serve(turn.state.to_serve)
            turn.keep_anyway()
            turn.set(phase=Phase.IDLE, poll_at=turn.now)
        else:
            turn.try_again(event.reason, event.text, Outcome.BLOCKED)
            turn.set(serve_at=turn.state.poll_at)


def _go_back(turn: Turn, verdict: Verdict, text: str = "", *, may_return: bool = False) -> None:
    """Serves the content before the confirmed one. may_return: that one may be gone back to as well."""
    kept = turn.state.kept
    forth = {"previous": kept.current, "previous_number": kept.current_number} if may_return else {"previous": None, "previous_number": 0}
    new = replace(kept, current=kept.previous, current_number=kept.previous_number, crashes=0, verdict=verdict, **forth)
    turn.set(kept=new, crashes=0, crashed_at=None)
    turn.serve(new.current)
    turn.say_verdict(verdict, text)
    turn.keep_anyway()


def _crashed(turn: Turn, event: events.Crashed) -> None:
    state, kept = turn.state, turn.state.kept
    if event.digest != state.served:
        return
    crashes = (0 if _is_forgotten(state, turn.now) else max(state.crashes, kept.crashes)) + 1
    turn.set(served=None, crashes=crashes, crashed_at=turn.now)
    if event.digest == kept.trial:
        if crashes > kept.probation.max_crashes:
            turn.leave_trial(Verdict(kept.trial_number, event.digest, Outcome.ROLLED_BACK, event.reason), event.text)
            return
    elif event.digest == kept.current and crashes > state.settings.most_crashes:
        if kept.previous in state.held:
            _go_back(turn, Verdict(kept.current_number, event.digest, Outcome.ROLLED_BACK, event.reason), event.text)
            return
        # There is nothing to go back to. It is said, and a model that answers most of the time is served all the same.
        turn.set(serve_at=turn.now + turn.backoff_seconds())
        verdict = Verdict(kept.current_number, event.digest, Outcome.UNFIT, event.reason)
        turn.say_verdict(verdict, event.text)
        turn.keep_anyway(crashes=crashes, verdict=verdict)
        return
    if state.serving is None and turn.state.to_serve:
        turn.serve(turn.state.to_serve)
    turn.keep_anyway(crashes=crashes)


def _is_forgotten(state: State, now: float) -> bool:
    """Whether the crashes of a confirmed content are too long ago to count. Those before a restart count from its time on."""
    since = state.began if state.crashed_at is None else state.crashed_at
    return state.kept.trial is None and now - since > state.settings.crash_memory_seconds


def _measured(turn: Turn, event: events.Measured) -> None:
    state, kept, found = turn.state, turn.state.kept, event.measurement
    if event.digest != kept.trial or event.digest != state.served or state.deadline is None:
        return
    reason = probation.broken(kept.probation, found)
    if reason:
        turn.leave_trial(Verdict(kept.trial_number, event.digest, Outcome.ROLLED_BACK, reason))
    elif turn.now >= state.deadline and not state.unsaved:
        has_before = kept.current in state.held and kept.current != event.digest
        if probation.is_complete(kept.probation, found, has_before=has_before):
            _confirm(turn, event.digest)


def _confirm(turn: Turn, digest: str) -> None:
    kept = turn.state.kept
    verdict = Verdict(kept.trial_number, digest, Outcome.CONFIRMED)
    before: dict[str, Any] = {"previous": kept.current, "previous_number": kept.current_number} if kept.current != digest else {}
    new: dict[str, Any] = {"current": digest, "current_number": kept.trial_number, "trial": None, "trial_number": 0, "trial_boots": 0}
    turn.keep(**before, **new, crashes=0, verdict=verdict)
    sweep(turn)
    turn.set(deadline=None, failures=0, crashes=0, crashed_at=None)
    turn.say_verdict(verdict)


def _persist_failed(turn: Turn, event: events.PersistFailed) -> None:
    state = turn.state
    if state.is_retreat or state.unsaved:
        turn.set(unsaved=True)
    else:
        turn.set(kept=event.kept)
    for effect in event.skipped:
        _not_done(turn, effect)
    delay = turn.backoff_seconds()
    turn.set(save_at=turn.now + delay, poll_at=turn.now + delay, phase=Phase.BLOCKED)
    if turn.state.kept.trial is not None and turn.state.kept.trial == turn.state.served and turn.state.deadline is None:
        turn.set(deadline=turn.now, measure_at=turn.now + delay)  # it was to be confirmed
    target, verdict = turn.state.target, turn.state.kept.verdict
    if target and not (verdict and verdict.number == target.number):
        turn.say(target.number, target.variant.digest if target.variant else "", Outcome.BLOCKED, event.reason)


def _not_done(turn: Turn, effect: Effect) -> None:
    state = turn.state
    if isinstance(effect, Serve):
        turn.set(serving=None)
        if effect.digest == state.kept.trial is not None:
            # Its start was not counted, so it is not started; `kept` holds this until the disk takes it.
            turn.set(kept=replace(state.kept, trial=None, trial_number=0, trial_boots=0), unsaved=True, deadline=None)
    elif isinstance(effect, Check):
        turn.set(looking=False)
    elif isinstance(effect, Fetch):
        turn.set(fetching=None)
    elif isinstance(effect, Say):
        turn.set(said=None)


def _roll_back(turn: Turn, _: events.RollBack) -> None:
    kept = turn.state.kept
    held = Reason.HELD_BY_OPERATOR
    if kept.trial is not None:
        turn.leave_trial(Verdict(kept.trial_number, kept.trial, Outcome.BLOCKED, held))
    elif kept.current is not None and kept.previous in turn.state.held:
        _go_back(turn, Verdict(kept.current_number, kept.current, Outcome.BLOCKED, held), may_return=True)


def _stopping(turn: Turn, _: events.Stopping) -> None:
    if turn.state.kept.trial is not None:  # else nobody asks how it ended
        turn.keep_anyway(is_stopped=True)


def _look_now(turn: Turn, _: events.LookNow) -> None:
    if not turn.state.looking:
        _look(turn)


_HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    events.Tick: _tick,
    events.Checked: _checked,
    events.Unchanged: _unchanged,
    events.CheckFailed: _check_failed,
    events.Fetched: _fetched,
    events.FetchFailed: _fetch_failed,
    events.Serving: _serving,
    events.ServeFailed: _serve_failed,
    events.Crashed: _crashed,
    events.Measured: _measured,
    events.PersistFailed: _persist_failed,
    events.RollBack: _roll_back,
    events.LookNow: _look_now,
    events.Stopping: _stopping,
}
