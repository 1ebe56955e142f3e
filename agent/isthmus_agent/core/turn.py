"""One step in the making: the state as it becomes, the effects in their order, and the moves that several events share."""

import hashlib
from dataclasses import replace
from typing import Any

from isthmus_agent.core.backoff import doubled_seconds
from isthmus_agent.core.effects import Effect, Persist, Say, Serve
from isthmus_agent.core.state import Moment, Phase, Said, State, Verdict
from isthmus_agent.formats.report import Outcome, Reason

PHASES = {
    Outcome.CONFIRMED: Phase.CONFIRMED,
    Outcome.ROLLED_BACK: Phase.ROLLED_BACK,
    Outcome.UNFIT: Phase.UNFIT,
    Outcome.BLOCKED: Phase.BLOCKED,
    Outcome.UPDATING: Phase.IDLE,
}


class Turn:
    """Changes to a state, and the effects that go with them."""

    def __init__(self, state: State, now: Moment) -> None:
        self.state = state
        self.now = now.seconds
        self.utc_seconds = now.utc_seconds
        self.effects: list[Effect] = []

    def set(self, **changes: Any) -> None:
        """Changes fields of the state."""
        self.state = replace(self.state, **changes)

    def do(self, effect: Effect) -> None:
        """Adds an effect."""
        self.effects.append(effect)

    def draw(self) -> float:
        """The next number of this device's own row of chance, from 0 up to 1: it follows from the seed."""
        digits = hashlib.sha256(f"{self.state.seed}/{self.state.draws}".encode()).digest()
        self.set(draws=self.state.draws + 1)
        return int.from_bytes(digits[:4], "big") / 2**32

    def backoff_seconds(self) -> float:
        """How long to wait after one more failure: twice as long each time, spread, so that a fleet does not come back as one."""
        self.set(failures=self.state.failures + 1)
        settings = self.state.settings
        longest = doubled_seconds(settings.first_backoff_seconds, settings.most_backoff_seconds, self.state.failures)
        return longest * (0.5 + 0.5 * self.draw())

    def keep(self, **changes: Any) -> None:
        """Goes forward only if the disk takes it: where it does not, nothing of this was so."""
        self.set(kept=replace(self.state.kept, **changes))
        self.do(Persist(self.state.kept))

    def keep_anyway(self, **changes: Any) -> None:
        """Goes back, or counts, whatever the disk does: where it does not take it, it holds for this process and is written again."""
        self.set(kept=replace(self.state.kept, **changes), is_retreat=True, unsaved=False)
        self.do(Persist(self.state.kept))

    def serve(self, digest: str | None) -> None:
        """Has a content served, or nothing."""
        self.set(serving=digest, served=self.state.served if digest else None)
        self.do(Serve(digest))

    def say(self, number: int, digest: str, outcome: Outcome, reason: Reason = Reason.NONE, text: str = "") -> None:
        """Reports something that was not said last."""
        said = Said(number, digest, outcome, reason)
        if number >= 1 and said != self.state.said:
            self.set(said=said, said_at=self.now)
            self.do(Say(number, digest, outcome, reason, text))

    def say_verdict(self, verdict: Verdict, text: str = "") -> None:
        """Reports a verdict, and takes its phase."""
        self.set(phase=PHASES[verdict.outcome])
        self.say(verdict.number, verdict.digest, verdict.outcome, verdict.reason, text)

    def rest(self) -> None:
        """Takes the phase of a device that does nothing at the moment."""
        verdict, target = self.state.kept.verdict, self.state.target
        is_decided = verdict and target and target.variant and (verdict.number, verdict.digest) == (target.number, target.variant.digest)
        self.set(phase=PHASES[verdict.outcome] if verdict and is_decided else Phase.IDLE)

    def try_again(self, reason: Reason, text: str, outcome: Outcome) -> None:
        """Looks at the store again after a while, which goes on from where it was."""
        target = self.state.target
        self.set(phase=Phase.BLOCKED if outcome is Outcome.BLOCKED else Phase.IDLE, poll_at=self.now + self.backoff_seconds())
        if target is not None:
            self.say(target.number, target.variant.digest if target.variant else "", outcome, reason, text)

    def leave_trial(self, verdict: Verdict | None, text: str = "") -> None:
        """Takes the device back to what is confirmed. verdict: None: nobody is to blame.

        The old content is served first and the rest written after it: a crash in between finds the trial again and counts its start.
        """
        kept = replace(self.state.kept, trial=None, trial_number=0, trial_boots=0, crashes=0, verdict=verdict or self.state.kept.verdict)
        self.set(kept=kept, deadline=None, crashes=0)
        self.serve(self.state.to_serve)
        if verdict:
            self.say_verdict(verdict, text)
        else:
            self.rest()
        self.keep_anyway()
