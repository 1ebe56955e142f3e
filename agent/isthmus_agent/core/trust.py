"""What a device remembers of the members of its group: who has so often said what the others do not see that it is not heard any more.

One answer alone hardly tells a lie from an honest error, some ten do. Each member either lies or does not, and that changes seldom: a
hidden Markov chain of two states, whose odds are carried from answer to answer by its forward filter (Rabiner 1989, doi 10.1109/5.18626).
What is looked at is the class j that the member holds for the likeliest, against what the others who are trusted say without it, q:

    P(j | honest) = a·q_j + (1 - a)(1 - q_j) / (m - 1)
    P(j | lies)   = 1/3·1/m + 1/3·(1 - q_j) / (m - 1) + 1/3·[j is the second of q]

m: how many classes there are. a: the member's measured share of right answers, which its strength stands for. The three kinds of lies are
those that have nothing to do with what is seen (a stuck sensor, dice), that name another class than the right one, and that name the wrong
one that is the most easily believed. With q a bound of what others can be made to say by one liar (evidence is cut), honest members stay
below the bar while it is among them, and what was held against them meanwhile is taken back when it goes.

What is kept is one number a member, bounded from both sides by the chances to begin and to end: a member that was honest for years is found
out as fast as a new one, and one that was mended is heard again. At most as many are kept out as `set_aside_at_most` says.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from isthmus_agent.core.fusion import Fused, Fusion, set_aside_at_most
from isthmus_agent.formats.fusion_group import FusionGroup
from isthmus_agent.formats.numbers import MILLION

BEGINS: Final = 1e-4
"""The chance that a member begins to lie with an answer."""
ENDS: Final = 1e-3
"""The chance that one that lies is mended."""
OUT_NATS: Final = 2.2
"""Log-odds of lying from which a member is not heard: 9 to 1."""
BACK_NATS: Final = 0.0
"""Below which it is heard again: 1 to 1."""
START_NATS: Final = math.log(BEGINS)
_STEP, _REACH = 0.05, 8.0


@dataclass(frozen=True)
class Memory:
    """nats: by place, the log-odds that the member lies. out: the places that are not heard."""

    nats: tuple[float, ...]
    out: frozenset[int] = frozenset()

    @classmethod
    def new(cls, members: int) -> "Memory":
        """Of somebody who has seen nothing."""
        return cls((START_NATS,) * members)

    def after(self, found: Mapping[int, float]) -> "Memory":
        """The memory after one more answer. found: by place, of each whose answer could be looked at: what it says `against` it."""
        nats = [carried(it) + found[place] if place in found else it for place, it in enumerate(self.nats)]
        out = frozenset(place for place in self.out if nats[place] > BACK_NATS)
        worst = max((place for place in sorted(found) if place not in out), key=nats.__getitem__, default=None)
        if worst is None or nats[worst] <= OUT_NATS or len(out) >= set_aside_at_most(found):
            return Memory(tuple(nats), out)
        out |= {worst}
        return Memory(tuple(it if place in out else min(it, START_NATS) for place, it in enumerate(nats)), out)


class Trust:
    """A group's answers, one after the other, by somebody who remembers. Not safe for threads."""

    def __init__(self, fusion: Fusion) -> None:
        self.fusion = fusion
        self.memory = Memory.new(len(fusion.group.members))
        self._shares = right_shares(fusion.group)

    @property
    def distrusted(self) -> tuple[str, ...]:
        """Who is not heard, in the order of their names."""
        return tuple(self.fusion.group.members[place].name for place in sorted(self.memory.out))

    def fused(self, said: Mapping[str, Sequence[float]]) -> Fused:
        """The group's answer without those who are distrusted, and then what it tells of each is remembered. said: as for `Fusion.fused`.

        Where nobody else has answered, those who are distrusted are heard after all: the answer's weights say so. Raises FormatError.
        """
        only = all(name in self.distrusted for name in said)
        found = self.fusion.fused(said, () if only else self.distrusted)
        heard = {self.fusion.group.places[name]: evidence for name, evidence in said.items()}
        self.memory = self.memory.after(self._found(heard))
        return found

    def _found(self, heard: Mapping[int, Sequence[float]]) -> dict[int, float]:
        telling = [place for place in sorted(heard) if self._shares[place]]
        found = {}
        for place in telling:
            others = tuple(other for other in telling if other != place and other not in self.memory.out)
            if len(others) > 1:  # of two who contradict each other nobody can tell who lies
                held = [prior + it for prior, it in zip(self.fusion.group.log_prior, self.fusion.total(others, heard), strict=True)]
                named = max(range(len(held)), key=heard[place].__getitem__)
                found[place] = against(held, named, self._shares[place])
        return found


def carried(nats: float) -> float:
    """The log-odds of lying at the next answer, before it is looked at: BEGINS and ENDS come in."""
    honest = 1 / (1 + math.exp(nats))
    lies = (1 - honest) * (1 - ENDS) + honest * BEGINS
    return math.log(lies / (1 - lies))


def against(held: Sequence[float], named: int, right: float) -> float:
    """log P(named | lies) / P(named | honest), in nats. held: [classes], the others' log-odds. right: the member's share."""
    most = max(held)
    q = math.exp(held[named] - most) / math.fsum(math.exp(it - most) for it in held)
    first = held.index(most)
    second = max((k for k in range(len(held)) if k != first), key=held.__getitem__)
    elsewhere = (1 - q) / (len(held) - 1)
    lies = (1 / len(held) + elsewhere + (named == second)) / 3
    return math.log(lies / (right * q + (1 - right) * elsewhere))


def right_shares(group: FusionGroup) -> tuple[float, ...]:
    """By place, the member's share of right answers, which its strength was made of; 0: it is not heard."""
    return tuple(right_share(it.strength_millionths / MILLION, group.classes) for it in group.members)


def right_share(strength: float, classes: int) -> float:
    """The share of right answers that a strength d′² stands for, ∫ φ(x - d′) Φ(x)^(m - 1) dx, by the trapezoid rule, whose error is less
    than 1e-12 here. 0 for a strength of 0: it is not heard. Below 1 by a millionth at least."""
    if not strength:
        return 0.0
    distance, steps = math.sqrt(strength), round(2 * _REACH / _STEP)
    nodes = [_STEP * number - _REACH for number in range(steps + 1)]
    whole = math.fsum(math.exp(-(x**2) / 2) * (math.erfc(-(x + distance) / math.sqrt(2)) / 2) ** (classes - 1) for x in nodes)
    return min(whole * _STEP / math.sqrt(2 * math.pi), 1 - 1 / MILLION)
