"""What a rollout is to bring, and what has to be signed for it. Pure, but for the drawing of a salt.

Devices outside of the open waves keep what they have, whatever is signed next: the last release that came to its end (`before`), or that of
a rollout that had reached them and was replaced before its end (`kept`).
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from isthmus.errors import InputError, Problem, property_path
from isthmus.fleet.budgets import budget_problems
from isthmus.fleet.gates import Gate, WaveGate, plan_gates
from isthmus.fleet.signed import signed_gate
from isthmus.fleet.waves import PlannedWave, Wave, plan_waves, wave_names
from isthmus.release import deltas
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.rollouts.contents import Make
from isthmus.rollouts.membership import by_wave
from isthmus.rollouts.paces import at_once, reached, repaced
from isthmus.rollouts.turns import all_reached
from isthmus_agent.formats.assignment import MOST_KEPT, Assignment, Before, Kept
from isthmus_agent.formats.assignment import Wave as SignedWave
from isthmus_agent.formats.contents import Delta, Variant
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.roster import Device
from isthmus_agent.formats.samples_wanted import SamplesWanted
from isthmus_agent.formats.sealed_contents import content_key
from isthmus_agent.formats.turns import START, Budget, Turns
from isthmus_agent.formats.window import Window

_SALT_BYTES = 8


@dataclass(frozen=True)
class Fleet:
    """The operator's side of one fleet. secret: the fleet's, by which reports are read; None: it is not here. make: makes deltas."""

    place: Place
    keyring: Keyring
    name: str
    secret: bytes | None = field(default=None, repr=False)
    make: Make = deltas.make

    @property
    def content_key(self) -> bytes | None:
        """Of sealed contents; None where the secret is not here."""
        return None if self.secret is None else content_key(self.secret, self.name)


@dataclass(frozen=True)
class Intent:
    """What a fleet shall have, and how it comes to it. files: bundles by target path. gates: one a wave."""

    variants: tuple[Variant, ...]
    files: Mapping[str, bytes | Path]
    waves: Sequence[Wave]
    gates: Sequence[Gate]
    probation: Probation = field(default_factory=Probation)
    window: Window | None = None
    samples: SamplesWanted | None = None
    budget: Budget | None = None
    counts: bool = False


@dataclass(frozen=True)
class Plan:
    """What a rollout would be with the devices that there are. salt: of the drawing."""

    salt: str
    waves: tuple[PlannedWave, ...]
    gates: tuple[WaveGate, ...]


def plan(intent: Intent, devices: Sequence[Device], salt: str, path: str = "waves") -> Plan:
    """The waves' devices and gates. Raises InputError with all that is wrong with them. path: of the list of waves."""
    waves = plan_waves(intent.waves, devices, salt, path)
    of_gates = [(it.signed.name, len(it.devices), gate) for it, gate in zip(waves, intent.gates, strict=True)]
    gates = plan_gates(of_gates, path)
    shortest_seconds = intent.probation.seconds + (intent.window.jitter_seconds if intent.window else 0)
    problems = [
        Problem(
            f"{property_path([index], path)}.gate.deadline_seconds",
            f"is {gate.deadline_seconds:g} s, and no device confirms a release before {shortest_seconds} s: probation, and jitter",
            f"more than {shortest_seconds}",
        )
        for index, gate in enumerate(intent.gates)
        if gate.deadline_seconds <= shortest_seconds
    ]
    problems += budget_problems(intent.budget, devices, [it.devices for it in waves], "budget")
    if problems:
        raise InputError(problems)
    return Plan(salt, waves, gates)


def is_about(told: Assignment, intent: Intent) -> bool:
    """Whether that is what the fleet is told: the same contents for the same classes, sealed with the same key, and, until its end, by the
    same waves.

    How large a share a wave has stays as it was signed: it was drawn from the devices that there were.
    """
    contents = [(it.device_class, it.digest, it.key) for it in told.variants]
    if contents != [(it.device_class, it.digest, it.key) for it in intent.variants]:
        return False
    return told.passed_seconds is not None or [_shape(it) for it in told.waves] == [
        (name, dict(it.selector), tuple(it.devices)) for name, it in zip(wave_names(intent.waves), intent.waves, strict=True)
    ]


def adjusted(told: Assignment, intent: Intent, devices: Sequence[Device], at_seconds: int) -> Assignment:
    """What is told, with the intent's gates, paces, budget, probation, window, samples and counts: the number stays. Errors as for
    `repaced`, and where the budget is for another label."""
    waves = told.waves
    if len(waves) == len(intent.gates):
        waves = repaced(told, [it.most_per_minute for it in intent.waves], devices, at_seconds)
        waves = tuple(replace(wave, gate=signed_gate(gate)) for wave, gate in zip(waves, intent.gates, strict=True))
    turns = _turns_with(told, intent.budget, devices, at_seconds)
    return replace(
        told,
        waves=waves,
        probation=intent.probation,
        window=intent.window,
        samples=intent.samples,
        turns=turns,
        counts=intent.counts,
    )


def _turns_with(told: Assignment, budget: Budget | None, devices: Sequence[Device], at_seconds: int) -> Turns | None:
    """A smaller budget takes nobody's turn back; without one all of the open waves may begin, and have when there is one again."""
    was = told.turns
    if budget is None or told.passed_seconds is not None:
        return None
    if was and was.budget == budget:
        return was
    members = by_wave(told, devices)
    waves = [[it.name for it in members.get(index, ())] for index in range(len(told.waves))]
    problems = budget_problems(budget, devices, waves, "budget")
    if was and was.budget.label != budget.label:
        what = f"is {budget.label!r}, and number {told.number} is under way by {was.budget.label!r}"
        fix = f"set it back; or take `budget` out, by which all devices of the open waves begin; or first isthmus fleet abort {told.fleet}"
        problems.append(Problem("budget.label", what, "the same until the rollout's end", fix))
    if problems:
        raise InputError(problems)
    return replace(was, budget=budget) if was else all_reached(budget, devices, told.open_waves, at_seconds)


def salt_after(told: Assignment | None) -> str:
    """Of the rollout that follows. One that replaces another before its end draws the same devices first: no others are disturbed."""
    return secrets.token_hex(_SALT_BYTES) if told is None or told.passed_seconds is not None else told.salt


def following(
    told: Assignment | None, number: int, fleet: str, intent: Intent, planned: Plan, *, deltas: Sequence[Delta] = (), at_seconds: int
) -> Assignment:
    """The next assignment, with its first wave open. Raises InputError where too many rollouts in a row came to no end."""
    waves = tuple(replace(it.signed, gate=signed_gate(gate)) for it, gate in zip(planned.waves, intent.gates, strict=True))
    before, kept = _kept_after(told, at_seconds)
    turns = Turns(intent.budget, {}, at_seconds) if intent.budget else None
    opens = Kept(number, planned.salt, intent.variants, (at_once(waves[0]),), turns.reached if turns else None)
    kept = tuple(it for index, it in enumerate(kept) if not any(_covers(other, it) for other in (opens, *kept[:index])))
    if len(kept) > MOST_KEPT:
        what = f"{len(kept)} rollouts in a row were replaced before they came to their end"
        fix = f"isthmus fleet abort {fleet}: every device goes back to the last release that did"
        raise InputError([Problem(f"fleet {fleet}", what, f"{MOST_KEPT} at most", fix)])
    return Assignment(
        fleet=fleet,
        number=number,
        salt=planned.salt,
        variants=intent.variants,
        waves=waves,
        open_waves=1,
        deltas=tuple(deltas),
        before=before,
        probation=intent.probation,
        window=intent.window,
        kept=kept,
        opened_seconds=(at_seconds,),
        samples=intent.samples,
        turns=turns,
        counts=intent.counts,
    )


def _kept_after(told: Assignment | None, at_seconds: int) -> tuple[Before | None, tuple[Kept, ...]]:
    """What devices that the next rollout does not reach have."""
    if told is None:
        return None, ()
    if told.passed_seconds is not None:
        return Before(told.number, told.variants), ()
    if not told.open_waves:
        return told.before, told.kept
    turns = told.turns.reached if told.turns else None
    if turns and not any(place > START for place in turns.by_value.values()):
        return told.before, told.kept
    return told.before, (Kept(told.number, told.salt, told.variants, reached(told, at_seconds), turns), *told.kept)


def _covers(newer: Kept, older: Kept) -> bool:
    """Whether all devices of the older one are surely the newer one's."""
    is_as_far = min(it.reached for it in newer.waves) >= max(it.reached for it in older.waves) and _turns_cover(newer, older)
    return is_as_far and newer.salt == older.salt and all(any(_has_all(wave, it) for wave in newer.waves) for it in older.waves)


def _turns_cover(newer: Kept, older: Kept) -> bool:
    """Whether all whose turn had come in the older one surely had it in the newer one, too."""
    if newer.turns is None:
        return True
    if older.turns is None or newer.turns.label != older.turns.label or newer.waves[: len(older.waves)] != older.waves:
        return False
    return all(newer.turns.by_value.get(value, START) >= place for value, place in older.turns.by_value.items())


def _has_all(wave: SignedWave, other: SignedWave) -> bool:
    return wave.labels == other.labels and wave.share >= other.share and set(wave.devices) >= set(other.devices)


def _shape(wave: SignedWave) -> tuple[str, Mapping[str, str], tuple[str, ...]]:
    """What of a wave does not follow from the roster. A wave with a share may name devices too, whose draws are the same."""
    return wave.name, dict(wave.labels), () if wave.share else tuple(wave.devices)
