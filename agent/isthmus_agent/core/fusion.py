"""The answers of a group's members made one: weighted log-odds.

The model. Of an example of class k, member i's evidence is s_i·e_k + its error, e_k the k-th unit vector (evidence says nothing but
differences between classes: what is common to all drops out). Errors have variance s_i in each class, as calibrated ones must (mean and
variance of a log-likelihood ratio are one number: Green and Swets 1966), are alike in all classes, and correlate between members by ρ_ij.
Then the posterior of those S that answered is

    log P(k | S) = log prior_k + Σ_{i ∈ S} w_i · evidence_i[k] + const,      Σ_SS w = diag(Σ_SS),  Σ_ij = ρ_ij √(s_i s_j)

which is Fisher's discriminant of all members together. Members who are missing or late are integrated out by leaving their rows out,
which is exact for a Gaussian: weights are solved for anew, and not the old ones scaled. Independent members all weigh 1 (Bayes' product);
of two who always err alike each weighs a half; one alone weighs 1. No weight is negative (evidence for a class never counts against it),
and with ρ ≥ 0 the conditions of Karush, Kuhn and Tucker say w_i = 1 - Σ_j Σ_ij w_j / s_i: none is above 1.

Who lies. Evidence is cut at `clip`, so that one member moves the log-odds of two classes by `clip` at most. And a member is set aside
where the others, without it, hold by more than `clip` against every class that it calls the likeliest: more than any one of them could
have said. The one they hold most against goes first, and then the rest are looked at again; two that answered stay, and more than half.
So, where classes are equally frequent and the others agree, one liar has none of them set aside, and never turns their answer if together
they are sure by more than `clip`.

What one answer cannot tell, many can: `isthmus_agent.core.trust` remembers who has said what nobody else sees, and does not hear it.

The same answers give the same result, in whatever order they came: members are gone through in the order of their names.
"""

import math
from collections.abc import Collection, Mapping, Sequence, Sized
from dataclasses import dataclass
from operator import mul

from isthmus_agent.formats import definite
from isthmus_agent.formats.evidence import decode, encode, evidence_of
from isthmus_agent.formats.fusion_group import FusionGroup
from isthmus_agent.formats.numbers import MILLION, FormatError

_MOST_REMEMBERED = 1024


@dataclass(frozen=True)
class Fused:
    """answer: the class; of several the one with the least number. probabilities: [classes]. weights: of those heard, by name. set_aside:
    those that the others held against, in the order in which they went."""

    answer: int
    probabilities: tuple[float, ...]
    weights: Mapping[str, float]
    set_aside: tuple[str, ...]


class Fusion:
    """What a group's answers amount to. It keeps the weights of each subset that has answered, and nothing of the answers."""

    def __init__(self, group: FusionGroup) -> None:
        self.group = group
        self._weights: dict[tuple[int, ...], tuple[float, ...]] = {}

    def written(self, member: str, log_probabilities: Sequence[float]) -> bytes:
        """What a member sends of its answer. Raises FormatError: no member, or no answer (see `evidence_of`)."""
        scale = self.group.members[self._place(member)].scale_millionths / MILLION
        return encode(evidence_of(log_probabilities, scale, self.group.log_prior, self.group.clip), self.group.clip)

    def read(self, payload: bytes) -> tuple[float, ...]:
        """The evidence in what came over the wire. A member reads its own so, too: then all make the same answer. Raises FormatError."""
        return decode(payload, self.group.classes, self.group.clip)

    def weights(self, names: Sequence[str]) -> dict[str, float]:
        """In [0, 1], of those members where they alone have answered. Raises FormatError where one is no member."""
        places = tuple(sorted({self._place(name) for name in names}))
        return {self.group.members[place].name: weight for place, weight in zip(places, self.weights_at(places), strict=True)}

    def weights_at(self, places: tuple[int, ...]) -> tuple[float, ...]:
        """The same, by places in rising order."""
        found = self._weights.get(places)
        if found is None:
            if len(self._weights) >= _MOST_REMEMBERED:
                self._weights.clear()
            found = self._weights[places] = _solved(self.group, places)
        return found

    def fused(self, said: Mapping[str, Sequence[float]], distrusted: Collection[str] = ()) -> Fused:
        """The group's answer.

        Args:
            said: evidence by member, as `read` gives it; from nobody, the answer is the prior's.
            distrusted: who is taken for missing, whatever it said (`isthmus_agent.core.trust`).

        Raises:
            FormatError: one is no member, or has another number of classes.
        """
        heard = {self._place(name): evidence for name, evidence in said.items()}
        for name, evidence in said.items():
            if len(evidence) != self.group.classes:
                raise FormatError(name, f"evidence of {len(evidence)} classes, expected {self.group.classes}")
        places = tuple(sorted(place for place in heard if self.group.members[place].name not in distrusted))
        aside: list[int] = []
        for _ in range(set_aside_at_most(self._telling(places))):
            worst = self._most_held_against(places, heard)
            if worst is None:
                break
            aside.append(worst)
            places = tuple(place for place in places if place != worst)
        weights = self.weights_at(places)
        totals = [prior + it for prior, it in zip(self.group.log_prior, self.total(places, heard), strict=True)]
        most = max(totals)
        shares = [math.exp(total - most) for total in totals]
        whole = math.fsum(shares)
        names = [member.name for member in self.group.members]
        return Fused(
            totals.index(most),
            tuple(share / whole for share in shares),
            {names[place]: weight for place, weight in zip(places, weights, strict=True)},
            tuple(names[place] for place in aside),
        )

    def _most_held_against(self, places: tuple[int, ...], heard: Mapping[int, Sequence[float]]) -> int | None:
        """The member, or None where the others hold by more than `clip` against nobody."""
        worst, most = None, self.group.clip
        for place in self._telling(places):
            total = self.total(tuple(other for other in places if other != place), heard)
            best = max(heard[place])
            against = max(total) - max(it for it, own in zip(total, heard[place], strict=True) if own == best)
            if against > most:
                worst, most = place, against
        return worst

    def total(self, places: tuple[int, ...], heard: Mapping[int, Sequence[float]]) -> list[float]:
        """Σ w_i · evidence_i of these places, [classes], without the prior. heard: evidence by place."""
        weights = self.weights_at(places)
        if not any(weights):
            return [0.0] * self.group.classes
        return [math.fsum(map(mul, weights, of_class)) for of_class in zip(*(heard[place] for place in places), strict=True)]

    def _telling(self, places: tuple[int, ...]) -> tuple[int, ...]:
        """Those that are better than chance: others have no say, and nothing is said against them."""
        return tuple(place for place in places if self.group.members[place].strength_millionths)

    def _place(self, name: str) -> int:
        place = self.group.places.get(name)
        if place is None:
            raise FormatError(name[:64], f"no member of the group, expected one of {', '.join(self.group.places)}")
        return place


def set_aside_at_most(telling: Sized) -> int:
    """Of so many who answered: two stay, and more than half."""
    return max(0, min(len(telling) - 2, (len(telling) - 1) // 2))


def _solved(group: FusionGroup, places: tuple[int, ...]) -> tuple[float, ...]:
    """The weights: with v = w·√s, the least of ½ vᵀRv - √sᵀv over v ≥ 0 (Lawson and Hanson 1974, chapter 23)."""
    distances = {place: math.sqrt(group.members[place].strength_millionths / MILLION) for place in places}
    values = _nonnegative(group.correlations, distances, [place for place in places if distances[place]])
    return tuple(min(1.0, values.get(place, 0.0) / distances[place]) if distances[place] else 0.0 for place in places)


def _nonnegative(matrix: definite.Rows, right: Mapping[int, float], places: Sequence[int]) -> dict[int, float]:
    """v ≥ 0 by place, with the gradient at most 0 where v is 0. Steps are bounded, so that rounding never makes it turn in circles."""
    values = dict.fromkeys(places, 0.0)
    free: list[int] = []
    for _ in range(3 * len(places)):
        gradient = {i: right[i] - math.fsum(matrix[i][j] * values[j] for j in free) for i in places if i not in free}
        best = max(gradient, key=lambda i: gradient[i], default=None)
        if best is None or gradient[best] <= 1e-12:
            break
        free = sorted([*free, best])
        while True:
            found = dict(zip(free, definite.solve([[matrix[i][j] for j in free] for i in free], [right[i] for i in free]), strict=True))
            falling = [i for i in free if found[i] <= 0]
            if not falling:
                values.update(found)
                break
            step = min(values[i] / (values[i] - found[i]) for i in falling)
            values.update({i: values[i] + step * (found[i] - values[i]) for i in free})
            gone = [i for i in falling if values[i] <= 1e-12]
            values.update(dict.fromkeys(gone, 0.0))
            free = [i for i in free if i not in gone]
    return values
