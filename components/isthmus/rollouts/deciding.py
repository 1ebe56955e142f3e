"""What follows from where a rollout stands. Pure."""

from enum import Enum, auto

from isthmus.rollouts.standing import Standing


class Step(Enum):
    """DONE: the waves that are asked for have passed. HELD: somebody paused it. TURN: that of more devices has come.
    FINISH: the last wave has passed, which is to be signed."""

    DONE = auto()
    HELD = auto()
    ABORT = auto()
    TURN = auto()
    FINISH = auto()
    OPEN = auto()
    PAUSE = auto()
    WAIT = auto()


def step(standing: Standing, upto: int) -> Step:
    """The next step of a rollout. upto: the index of the last wave that is asked for."""
    outcome = standing.verdict.outcome if standing.verdict else "wait"
    passed = standing.passed_waves
    rules = (
        (standing.passed_seconds is not None, Step.DONE),
        (standing.paused, Step.HELD),
        (outcome == "abort", Step.ABORT),
        (outcome != "inconclusive" and standing.turns is not None and standing.turns.is_due, Step.TURN),
        (passed == len(standing.waves), Step.FINISH),
        (passed > upto, Step.DONE),
        (passed == len(standing.open_waves), Step.OPEN),
        (outcome == "inconclusive", Step.PAUSE),
    )
    return next((found for holds, found in rules if holds), Step.WAIT)
