"""A policy file's source: the figures that a migration policy is solved from, as a user writes and edits them (YAML or JSON)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from pydantic import BeforeValidator, Field

from isthmus.arguments.checking import Checked, Limited, Name, check, one_of, same_twice
from isthmus.arguments.formats import ClassName, SignedName
from isthmus.arguments.yaml_file import read_yaml
from isthmus.errors import InputError, Problem, property_path
from isthmus.limits import DEVICE_CLASS, MIGRATION, MOST_CLASSES
from isthmus.migration.process import Dimension
from isthmus.migration.situation import (
    NOTHING_MEASURED,
    PRIVACY,
    Answers,
    Axis,
    Headroom,
    Link,
    Place,
    Situation,
    ThenCloud,
    Worth,
    wandering,
)
from isthmus.names import MAY_LEAVE_DEVICE, STAYS_ON_DEVICE
from isthmus_agent.formats.contents import ANY_CLASS
from isthmus_agent.formats.policy import CLOUD, DEVICE, LOAD, MOST_LEVELS, NETWORK, THEN_CLOUD

_ROW_TOLERANCE: Final = 1e-9
# YAML 1.1 reads a number without a point before its exponent, such as 2e-6, as a text.
_EXPONENT: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]{1,3}")


def _number(value: object) -> object:
    if isinstance(value, bool) or (isinstance(value, str) and not _EXPONENT.fullmatch(value)):
        raise ValueError(f"found {value!r}; expected a number")
    return float(value) if isinstance(value, str) else value


Number = Annotated[float, BeforeValidator(_number)]
Chance = Annotated[Number, Limited(MIGRATION["transition"])]


class LevelSettings(Checked):
    """A level of something that is measured. until: where the next begins, in the measured unit. stays_seconds: mean time at it."""

    name: SignedName
    until: Annotated[Number, Limited(MIGRATION["until"])] | None = None
    stays_seconds: Annotated[Number, Limited(MIGRATION["stays_seconds"])] | None = None


class NetworkLevel(LevelSettings):
    """A level of the device's network. cut: nothing gets through; else the link's figures, as measured."""

    cut: bool = False
    rtt_ms: Annotated[Number, Limited(MIGRATION["rtt_ms"])] | None = None
    megabits_per_second: Annotated[Number, Limited(MIGRATION["megabits_per_second"])] | None = None
    loss_percent: Annotated[Number, Limited(MIGRATION["loss_percent"])] = MIGRATION["loss_percent"].default
    price_per_megabyte: Annotated[Number, Limited(MIGRATION["price_per_megabyte"])] = MIGRATION["price_per_megabyte"].default

    def problems(self, path: str) -> Sequence[Problem]:
        figures = {"rtt_ms": self.rtt_ms, "megabits_per_second": self.megabits_per_second}
        if self.cut:
            given = [name for name, it in figures.items() if it is not None]
            return [Problem(f"{path}.{name}", "a network that is cut has none", fix="remove it, or `cut`") for name in given]
        return [Problem(f"{path}.{name}", "is missing", "a number, or `cut: true`") for name, it in figures.items() if it is None]

    def pure(self) -> Link | None:
        """None where it is cut."""
        if self.rtt_ms is None or self.megabits_per_second is None:
            return None
        return Link(self.rtt_ms, self.megabits_per_second, self.loss_percent, self.price_per_megabyte)


class LoadLevel(LevelSettings):
    """A level of the device's own load."""

    requests_per_second: Annotated[Number, Limited(MIGRATION["requests_per_second"])]


class HeadroomLevel(LevelSettings):
    """A level of thermal or battery head-room."""

    slowdown: Annotated[Number, Limited(MIGRATION["slowdown"])] = MIGRATION["slowdown"].default
    joules_factor: Annotated[Number, Limited(MIGRATION["joules_factor"])] = MIGRATION["joules_factor"].default


class AxisSettings(Checked):
    """What levels have in common. band: beyond an edge, until which a level stays. transition: of one step; left out: `stays_seconds` of
    each level, and then one up or one down, evenly."""

    band: Annotated[Number, Limited(MIGRATION["band"])] = MIGRATION["band"].default
    transition: tuple[tuple[Chance, ...], ...] | None = None
    levels: tuple[LevelSettings, ...]

    def problems(self, path: str) -> Sequence[Problem]:
        return [*self._edge_problems(path), *self._transition_problems(path), *same_twice(self.levels, lambda it: it.name, path, "levels")]

    def _edge_problems(self, path: str) -> Iterator[Problem]:
        last = len(self.levels) - 1
        before = None
        for index, level in enumerate(self.levels):
            where = property_path(["levels", index, "until"], path)
            if index < last and level.until is None:
                yield Problem(where, "is missing", "where the next level begins")
            elif index == last and level.until is not None:
                yield Problem(where, "no level comes after the last one", fix="remove it")
            elif level.until is not None and before is not None and level.until <= before:
                yield Problem(where, f"found {level.until:g}", f"more than {before:g}, where the level before it ends")
            before = level.until if level.until is not None else before

    def _transition_problems(self, path: str) -> Iterator[Problem]:
        count, rows = len(self.levels), self.transition
        if rows is None:
            for index, level in enumerate(self.levels):
                if level.stays_seconds is None and count > 1:
                    where = property_path(["levels", index, "stays_seconds"], path)
                    yield Problem(where, "is missing", "the mean time at this level, or `transition` for all")
            return
        for index, level in enumerate(self.levels):
            if level.stays_seconds is not None:
                where = property_path(["levels", index, "stays_seconds"], path)
                yield Problem(where, "contradicts `transition`", "one of the two")
        if len(rows) != count or any(len(row) != count for row in rows):
            yield Problem(f"{path}.transition", f"has rows of {[len(row) for row in rows]}", f"{count} rows of {count}")
            return
        for index, row in enumerate(rows):
            if abs(sum(row) - 1) > _ROW_TOLERANCE:
                where = property_path(["transition", index], path)
                yield Problem(where, f"found {list(row)}, which sums to {sum(row):.12g}", "probabilities that sum to 1")

    def pure(self, name: str, unit: str, step_seconds: float, unmeasured: int) -> Axis:
        """The axis. unmeasured: the level to assume until something was measured."""
        levels = self.levels
        edges = tuple(it.until for it in levels if it.until is not None)
        stays = tuple(it.stays_seconds or np.inf for it in levels)
        matrix = wandering(stays, step_seconds) if self.transition is None else np.array(self.transition)
        return Axis(Dimension(name, tuple(it.name for it in levels), edges, unit, unmeasured), matrix, self.band)


_Several: Final = Field(min_length=1, max_length=MOST_LEVELS)


class NetworkSettings(AxisSettings):
    """Levels of the network, by the measured round trip in ms; one that never ends is beyond all edges. common_percent: of its changes."""

    common_percent: Annotated[Number, Limited(MIGRATION["common_percent"])] = MIGRATION["common_percent"].default
    levels: Annotated[tuple[NetworkLevel, ...], _Several]


class LoadSettings(AxisSettings):
    """Levels of the device's own load, by its requests per second."""

    levels: Annotated[tuple[LoadLevel, ...], _Several]


class HeadroomSettings(AxisSettings):
    """Levels of head-room, by what the device measures. unit: of that, such as `degrees` or `percent`."""

    unit: SignedName
    levels: Annotated[tuple[HeadroomLevel, ...], _Several]


class LinkSettings(Checked):
    """A link of its own."""

    rtt_ms: Annotated[Number, Limited(MIGRATION["rtt_ms"])]
    megabits_per_second: Annotated[Number, Limited(MIGRATION["megabits_per_second"])]
    loss_percent: Annotated[Number, Limited(MIGRATION["loss_percent"])] = MIGRATION["loss_percent"].default
    price_per_megabyte: Annotated[Number, Limited(MIGRATION["price_per_megabyte"])] = MIGRATION["price_per_megabyte"].default


class PlaceSettings(Checked):
    """A place where requests can run. link: left out, the device's network at its present level."""

    service_ms: Annotated[Number, Limited(MIGRATION["service_ms"])]
    p95_ms: Annotated[Number, Limited(MIGRATION["p95_ms"])]
    price_per_request: Annotated[Number, Limited(MIGRATION["price_per_request"])] = MIGRATION["price_per_request"].default
    joules_per_request: Annotated[Number, Limited(MIGRATION["joules_per_request"])] = MIGRATION["joules_per_request"].default
    warm_up_ms: Annotated[Number, Limited(MIGRATION["warm_up_ms"])] = MIGRATION["warm_up_ms"].default
    model_bytes: Annotated[Number, Limited(MIGRATION["model_bytes"])] = MIGRATION["model_bytes"].default
    error_percent: Annotated[Number, Limited(MIGRATION["error_percent"])] | None = None
    link: LinkSettings | None = None

    def problems(self, path: str) -> Sequence[Problem]:
        if self.p95_ms >= self.service_ms:
            return ()
        return [Problem(f"{path}.p95_ms", f"found {self.p95_ms:g}", f"`service_ms` ({self.service_ms:g}) or more")]

    def pure(self, error_rate: float = 0.0) -> Place:
        """The place."""
        link = None if self.link is None else Link(**self.link.model_dump())
        costs = (self.price_per_request, self.joules_per_request, self.warm_up_ms, self.model_bytes)
        return Place(self.service_ms, self.p95_ms, *costs, link, error_rate)


class ThenCloudSettings(Checked):
    """The device, which then asks the cloud for what it is not sure of. error_percent: of all answers, where the cloud is there."""

    unsure_percent: Annotated[Number, Limited(MIGRATION["unsure_percent"])] | None = None
    error_percent: Annotated[Number, Limited(MIGRATION["error_percent"])] | None = None


class WorthSettings(Checked):
    """What other things are worth, in milliseconds of waiting."""

    deadline_miss_ms: Annotated[Number, Limited(MIGRATION["deadline_miss_ms"])]
    joule_ms: Annotated[Number, Limited(MIGRATION["joule_ms"])] = MIGRATION["joule_ms"].default
    money_ms: Annotated[Number, Limited(MIGRATION["money_ms"])] = MIGRATION["money_ms"].default
    wrong_answer_ms: Annotated[Number, Limited(MIGRATION["wrong_answer_ms"])] = MIGRATION["wrong_answer_ms"].default


class ClassFactors(Checked):
    """A class of devices, against the device that was measured."""

    speed_factor: Annotated[Number, Limited(DEVICE_CLASS["speed_factor"])] = 1.0
    joules_factor: Annotated[Number, Limited(MIGRATION["joules_factor"])] = MIGRATION["joules_factor"].default


class PolicySettings(Checked):
    """All of it. classes: of devices, each with a policy of its own; left out: one for all. data: where inputs may go."""

    name: Name
    step_seconds: Annotated[Number, Limited(MIGRATION["step_seconds"])] = MIGRATION["step_seconds"].default
    discount: Annotated[Number, Limited(MIGRATION["discount"])] = MIGRATION["discount"].default
    margin_ms: Annotated[Number, Limited(MIGRATION["margin_ms"])] = MIGRATION["margin_ms"].default
    data: Annotated[str, one_of(PRIVACY, "choice")] = MAY_LEAVE_DEVICE
    deadline_ms: Annotated[Number, Limited(MIGRATION["deadline_ms"])]
    request_bytes: Annotated[Number, Limited(MIGRATION["request_bytes"])]
    answer_bytes: Annotated[Number, Limited(MIGRATION["answer_bytes"])] = MIGRATION["answer_bytes"].default
    joules_per_megabyte: Annotated[Number, Limited(MIGRATION["joules_per_megabyte"])] = MIGRATION["joules_per_megabyte"].default
    worth: WorthSettings
    network: NetworkSettings
    load: LoadSettings
    headroom: HeadroomSettings | None = None
    device: PlaceSettings
    device_then_cloud: ThenCloudSettings | None = None
    cloud: PlaceSettings | None = None
    peers: Annotated[Mapping[ClassName, PlaceSettings], Field(max_length=MOST_CLASSES)] = Field(default_factory=dict)
    classes: Annotated[Mapping[ClassName, ClassFactors], Field(max_length=MOST_CLASSES)] = Field(default_factory=dict)

    def problems(self, path: str) -> Sequence[Problem]:
        return [*self._privacy_problems(path), *self._place_problems(path), *self._then_problems(path)]

    def _privacy_problems(self, path: str) -> Iterator[Problem]:
        """Places that `data` forbids: a rule to offload that could never be kept is a mistake, not a wish."""
        forbidden = {
            "cloud": self.cloud is not None and self.data != MAY_LEAVE_DEVICE,
            "peers": bool(self.peers) and self.data == STAYS_ON_DEVICE,
        }
        for name, is_forbidden in forbidden.items():
            if is_forbidden:
                where = property_path([name], path)
                yield Problem(where, f"contradicts `data: {self.data}`", fix=f"remove it, or say where data may go: {' or '.join(PRIVACY)}")

    def _place_problems(self, path: str) -> Iterator[Problem]:
        for name, peer in self.peers.items():
            yield from peer.problems(property_path(["peers", name], path))
        for name in ("link", "price_per_request", "model_bytes"):
            if getattr(self.device, name):
                yield Problem(property_path(["device", name], path), "the device itself has none", fix="remove it")

    def _then_problems(self, path: str) -> Iterator[Problem]:
        """A place where nobody is ever asked, or where asking could gain nothing."""
        if self.device_then_cloud is None:
            return
        where, cloud = property_path([THEN_CLOUD], path), self.cloud
        if cloud is None:
            yield Problem(where, "there is no `cloud` that could be asked", fix="give the cloud's figures, or remove it")
        elif cloud.link is None and all(it.cut for it in self.network.levels):
            yield Problem(where, "the network is cut at every level, so nobody can be asked", fix="give a level that is not, or remove it")
        if not self.worth.wrong_answer_ms:
            what, fix = "a wrong answer is worth nothing, so asking gains nothing", "say `worth.wrong_answer_ms`, or remove it"
            yield Problem(where, what, "a price for a wrong answer", fix)

    def answers(self, measured: Answers) -> tuple[Answers, list[str]]:
        """What is known of answers, the file before what was measured; and the figures, by their places in the file, that are missing where
        a wrong answer has a price."""
        then, peers = self.device_then_cloud or ThenCloudSettings(), dict(measured.peers)
        given = {DEVICE: self.device.error_percent, CLOUD: self.cloud.error_percent if self.cloud else None}
        given |= {THEN_CLOUD: then.error_percent, "unsure": then.unsure_percent}
        known = {DEVICE: measured.device, CLOUD: measured.cloud, THEN_CLOUD: measured.then_cloud, "unsure": measured.unsure_share}
        found = {name: known[name] if it is None else it / 100 for name, it in given.items()}
        near = {name: peers.get(name) if it.error_percent is None else it.error_percent / 100 for name, it in self.peers.items()}
        wanted = {f"{DEVICE}.error_percent": found[DEVICE], f"{CLOUD}.error_percent": found[CLOUD] if self.cloud else 0.0}
        if self.device_then_cloud is not None:
            wanted |= {f"{THEN_CLOUD}.error_percent": found[THEN_CLOUD], f"{THEN_CLOUD}.unsure_percent": found["unsure"]}
        wanted |= {property_path(["peers", name, "error_percent"]): it for name, it in near.items()}
        missing = [where for where, it in wanted.items() if it is None] if self.worth.wrong_answer_ms else []
        pairs = tuple((name, it) for name, it in near.items() if it is not None)
        return Answers(found[DEVICE], found[CLOUD], found[THEN_CLOUD], found["unsure"], pairs, measured.timeout_ms), missing

    def situation(self, measured: Answers = NOTHING_MEASURED) -> Situation:
        """As the migration's rooms take it, of the device that was measured.

        Where a wrong answer has a price and it is known what a device passes on, the device that then asks is a place of its own.

        Args:
            measured: how often answers are wrong; the file's own figures go before it.

        Raises:
            InputError: a wrong answer has a price, and how often there are some is not known.
        """
        answers, missing = self.answers(measured)
        if missing:
            fix = "give it, or leave `worth.wrong_answer_ms` out"
            raise InputError(
                [Problem(it, "is neither given nor measured, and a wrong answer has a price", "0 to 100", fix) for it in missing]
            )
        then = None
        if self.worth.wrong_answer_ms and answers.then_cloud is not None and answers.unsure_share is not None:
            then = ThenCloud(answers.unsure_share, answers.then_cloud, answers.timeout_ms)
        peers = dict(answers.peers)
        last = len(self.network.levels) - 1
        headroom = self.headroom
        return Situation(
            name=self.name,
            step_seconds=self.step_seconds,
            discount=self.discount,
            deadline_ms=self.deadline_ms,
            request_bytes=self.request_bytes,
            answer_bytes=self.answer_bytes,
            worth=Worth(**self.worth.model_dump()),
            privacy=self.data,
            network_axis=self.network.pure(NETWORK, "ms", self.step_seconds, last),
            network=tuple(it.pure() for it in self.network.levels),
            load_axis=self.load.pure(LOAD, "per second", self.step_seconds, 0),
            load=tuple(it.requests_per_second for it in self.load.levels),
            device=self.device.pure(answers.device or 0.0),
            cloud=self.cloud.pure(answers.cloud or 0.0) if self.cloud else None,
            peers={name: it.pure(peers.get(name, 0.0)) for name, it in self.peers.items()},
            headroom_axis=headroom.pure("headroom", headroom.unit, self.step_seconds, 0) if headroom else None,
            headroom=tuple(Headroom(it.slowdown, it.joules_factor) for it in headroom.levels) if headroom else (Headroom(),),
            joules_per_megabyte=self.joules_per_megabyte,
            then_cloud=then,
            network_common=self.network.common_percent / 100,
        )

    @property
    def factors(self) -> Mapping[str, ClassFactors]:
        """Of each class of devices; of all, where none is named."""
        return self.classes or {ANY_CLASS: ClassFactors()}

    def situations(self) -> Mapping[str, Situation]:
        """One for each class of devices, by the file's own figures. Raises InputError as `situation`."""
        return {name: self.of_class(name) for name in self.factors}

    def of_class(self, name: str, measured: Answers = NOTHING_MEASURED) -> Situation:
        """The situation of a class that the file is for. Raises InputError as `situation`."""
        its = self.factors[name]
        return self.situation(measured).of_class(its.speed_factor, its.joules_factor)


_EXPECTED: Final = "a YAML or JSON file with the figures of a migration policy (docs/migration.md)"


def load_policy(text: str, base_directory: Path, path: str) -> PolicySettings:
    """The figures in a file.

    Raises:
        InputError: no such file, not YAML, or wrong content; all problems at once.
    """
    return check(PolicySettings, read_yaml(text, base_directory, path, "policy file", _EXPECTED), path)
