"""What is lost of the group's answers while one member lies and one is missing, by every kind of lie, with and without memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from isthmus.fusion.batch import fused
from isthmus.fusion.lies import LIES, Labels, Lies
from isthmus.fusion.measures import Estimate, difference
from isthmus.fusion.remembering import remembered
from isthmus.fusion.validate import Case, Part, Right, all_but, held_out, honest
from isthmus.fusion.views import Numbers
from isthmus_agent.core.fusion import Fusion
from isthmus_agent.core.trust import Memory


@dataclass(frozen=True)
class Lost:
    """Shares of right answers that are lost: by who looks at one answer alone, and by who remembers (`isthmus_agent.core.trust`)."""

    at_once: Estimate
    remembering: Estimate


@dataclass(frozen=True)
class Threats:
    """Against the honest and whole group without memory, each the mean over who lies; the next one by name is missing.

    nobody: what memory costs while all are honest and there.
    two_missing: what is lost where the liar says nothing: what a liar costs who is known for one.
    by_lie: by the name of the lie in `lies.LIES`.
    """

    nobody: Estimate
    two_missing: Estimate
    by_lie: Mapping[str, Lost]


@dataclass(frozen=True)
class LostByExample:
    """The same, [examples] each. by_lie: at once, and by who remembers."""

    nobody: Right
    two_missing: Right
    by_lie: Mapping[str, tuple[Right, Right]]


def threats(parts: Sequence[Part]) -> Threats | None:
    """The figures; None for a group of less than four, in which nobody is left to tell a liar by."""
    if len(parts[0].evidence) < 4:
        return None
    lost = lost_by_example(parts)
    by_lie = {name: Lost(difference(at_once), difference(remembering)) for name, (at_once, remembering) in lost.by_lie.items()}
    return Threats(difference(lost.nobody), difference(lost.two_missing), by_lie)


def lost_by_example(parts: Sequence[Part]) -> LostByExample:
    """By example, of a group of four or more."""
    cases: list[Case] = [honest, _Remembering(), _two_missing]
    for lies in LIES.values():
        cases += [partial(_at_once, lies), _Remembering(lies)]
    whole, alone, two, *lied = [right.mean(axis=0) for right in held_out(parts, cases)]
    lost = [whole - it for it in lied]
    return LostByExample(whole - alone, whole - two, dict(zip(LIES, zip(lost[::2], lost[1::2], strict=True), strict=True)))


def _two_missing(fusion: Fusion, evidence: Numbers, labels: Labels) -> Iterator[Labels]:
    for liar in range(len(evidence)):
        answered = all_but(evidence, _missing(evidence, liar))
        answered[liar] = False
        yield fused(fusion, evidence, answered).answers


def _at_once(lies: Lies, fusion: Fusion, evidence: Numbers, labels: Labels) -> Iterator[Labels]:
    for liar in range(len(evidence)):
        answered = all_but(evidence, _missing(evidence, liar))
        yield fused(fusion, lies(fusion, evidence, labels, liar, answered), answered).answers


class _Remembering:
    """Somebody who hears the folds one after the other, for each liar with a memory of its own; or, without lies, everybody's truth."""

    def __init__(self, lies: Lies | None = None) -> None:
        self.lies = lies
        self.memories: dict[int, Memory] = {}

    def __call__(self, fusion: Fusion, evidence: Numbers, labels: Labels) -> Iterator[Labels]:
        for liar in range(len(evidence) if self.lies else 1):
            answered = all_but(evidence, _missing(evidence, liar) if self.lies else None)
            said = self.lies(fusion, evidence, labels, liar, answered) if self.lies else evidence
            found = remembered(fusion, said, answered, self.memories.get(liar))
            self.memories[liar] = found.memory
            yield found.fused.answers


def _missing(evidence: Numbers, liar: int) -> int:
    return (liar + 1) % len(evidence)
