"""The file of a group: who its members are, and what was measured of them, so that their answers can be made one.

It is canonical JSON without fractions, so that the same group is the same bytes and has one digest. It holds for one release alone:
what was measured of one model says nothing of another. Members are views (`door`, `north`), not devices: a device takes a view's place
by its label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from isthmus_agent.formats import definite, digests, numbers
from isthmus_agent.formats.evidence import MOST_CLASSES
from isthmus_agent.formats.numbers import MILLION, FormatError, integer

FORMAT: Final = 1
MOST_MEMBERS: Final = 16
MOST_BYTES: Final = 128 << 10
THOUSAND: Final = 1000
VIEW: Final = "view"
"""The label of a device that says which member it stands for."""
LEAST_CLIP_MILLINATS, MOST_CLIP_MILLINATS = 500, 16_000
MOST_SCALE_MILLIONTHS: Final = 16 * MILLION
MOST_STRENGTH_MILLIONTHS: Final = 144 * MILLION
MOST_CORRELATION_MILLIONTHS: Final = 980_000
"""Two members that err alike more than so are taken for ones that do so: what tells them apart cannot be measured."""
MOST_PRIOR_MILLINATS: Final = 16_000


@dataclass(frozen=True)
class Member:
    """scale_millionths: one over its temperature. strength_millionths: the squared distance, in standard deviations of its error, that the
    right class stands from the others (d′² of signal detection); 0: it is no better than chance, and is not heard."""

    name: str
    scale_millionths: int
    strength_millionths: int


@dataclass(frozen=True)
class FusionGroup:
    """One group.

    release: the digest of the release whose answers were measured.
    clip_millinats: what one member can say against a class at the most.
    members: in the order of their names, each once.
    correlations_millionths: of the members' errors; row i has those with the members before i, none below 0, all together definite.
    log_prior_millinats: of each class, the logarithm of its share, at most 0.
    """

    release: str
    clip_millinats: int
    members: tuple[Member, ...]
    correlations_millionths: tuple[tuple[int, ...], ...]
    log_prior_millinats: tuple[int, ...]

    @property
    def classes(self) -> int:
        return len(self.log_prior_millinats)

    @property
    def clip(self) -> float:
        """In nats."""
        return self.clip_millinats / THOUSAND

    @cached_property
    def log_prior(self) -> tuple[float, ...]:
        """In nats, of each class."""
        return tuple(value / THOUSAND for value in self.log_prior_millinats)

    @cached_property
    def correlations(self) -> tuple[tuple[float, ...], ...]:
        """The whole matrix [members, members], with ones on its diagonal."""
        count, rows = len(self.members), self.correlations_millionths
        return tuple(tuple(1.0 if i == j else rows[max(i, j)][min(i, j)] / MILLION for j in range(count)) for i in range(count))

    @cached_property
    def places(self) -> dict[str, int]:
        """Of each member, by its name."""
        return {member.name: place for place, member in enumerate(self.members)}

    def of(self, names: Sequence[str]) -> "FusionGroup":
        """The group that these members alone would be. Raises FormatError where one is no member."""
        for name in names:
            if name not in self.places:
                raise FormatError("members", f"found {numbers.shown(name)}, expected one of {', '.join(self.places)}")
        kept = sorted(self.places[name] for name in set(names))
        rows = tuple(tuple(self.correlations_millionths[i][j] for j in kept if j < i) for i in kept)
        members = tuple(self.members[i] for i in kept)
        return FusionGroup(self.release, self.clip_millinats, members, rows, self.log_prior_millinats)

    def to_value(self) -> dict[str, Any]:
        """Of JSON's types alone."""
        return {
            "format": FORMAT,
            "release": self.release,
            "clip_millinats": self.clip_millinats,
            "members": [
                {"name": it.name, "scale_millionths": it.scale_millionths, "strength_millionths": it.strength_millionths}
                for it in self.members
            ],
            "correlations_millionths": [list(row) for row in self.correlations_millionths],
            "log_prior_millinats": list(self.log_prior_millinats),
        }

    def to_bytes(self) -> bytes:
        """The one way to write it."""
        return numbers.dump(self.to_value())

    @cached_property
    def digest(self) -> str:
        """Of these bytes: what a signed document pins, and what members name their topic by."""
        return digests.of(self.to_bytes())


def read(content: bytes, release: str, digest: str | None = None) -> FusionGroup:
    """The group in a file.

    Args:
        release: the digest of what the reader serves; a group of another release is refused.
        digest: what the file must have, where it is pinned.

    Raises:
        FormatError: for every content that is no such file, and nothing else.
    """
    if len(content) <= MOST_BYTES and digest is not None and digests.of(content) != digest:
        raise FormatError("", f"the group's file has digest {digests.of(content)}, expected {numbers.shown(digest)}")
    found = from_value(numbers.load(content, "the group's file", MOST_BYTES))
    if found.to_bytes() != content:
        raise FormatError("", "the group's file is not written in the one way that there is")
    if found.release != release:
        raise FormatError("release", f"the group was measured with {found.release}, expected {release[:80]}, which is served here")
    return found


def from_value(value: object) -> FusionGroup:
    """The group that a parsed JSON value holds. Raises FormatError for every value that is none, and nothing else."""
    names = ("format", "release", "clip_millinats", "members", "correlations_millionths", "log_prior_millinats")
    found = numbers.fields(value, "", names)
    integer(found["format"], "format", FORMAT, FORMAT)
    release = numbers.digest(found["release"], "release")
    clip = integer(found["clip_millinats"], "clip_millinats", LEAST_CLIP_MILLINATS, MOST_CLIP_MILLINATS)
    listed = numbers.items(found["members"], "members", MOST_MEMBERS, 1)
    members = tuple(_member(it, f"members[{place}]") for place, it in enumerate(listed))
    order = [it.name for it in members]
    if numbers.unique(order, "members", "member") != sorted(order):
        raise FormatError("members", "expected them in the order of their names")
    prior = numbers.items(found["log_prior_millinats"], "log_prior_millinats", MOST_CLASSES, 2)
    log_prior = tuple(integer(it, f"log_prior_millinats[{k}]", -MOST_PRIOR_MILLINATS, 0) for k, it in enumerate(prior))
    group = FusionGroup(release, clip, members, _correlations(found["correlations_millionths"], len(members)), log_prior)
    if definite.factor(group.correlations) is None:
        raise FormatError("correlations_millionths", "expected correlations that can be together: the matrix is not definite")
    return group


def _member(value: object, where: str) -> Member:
    found = numbers.fields(value, where, ("name", "scale_millionths", "strength_millionths"))
    return Member(
        numbers.name(found["name"], f"{where}.name"),
        integer(found["scale_millionths"], f"{where}.scale_millionths", 0, MOST_SCALE_MILLIONTHS),
        integer(found["strength_millionths"], f"{where}.strength_millionths", 0, MOST_STRENGTH_MILLIONTHS),
    )


def _correlations(value: object, members: int) -> tuple[tuple[int, ...], ...]:
    where = "correlations_millionths"
    rows = numbers.items(value, where, members, members)
    return tuple(
        tuple(
            integer(it, f"{where}[{i}][{j}]", 0, MOST_CORRELATION_MILLIONTHS)
            for j, it in enumerate(numbers.items(row, f"{where}[{i}]", i, i))
        )
        for i, row in enumerate(rows)
    )
