"""One device's part in answers that its group gives together: its own evidence goes out, others' comes in, and each event that is asked
here has one answer.

Whoever runs it gives it the time (seconds of a clock that only goes forward) with all that happens, does the effects in their order, and
calls `tick` when `wakes_at` says so. Not safe for threads. What holds, whatever the bus loses, repeats, delays or turns round:

- an event that is asked here has one `Answered`, by its deadline, and never a second one;
- it is made of the evidence that had come by then, in whatever order: of a device the first word, of a view one device's word;
- it waits for nobody who is not there, and for whom it waited in vain a few times only once it has been heard again;
- who has said often enough what the others do not see is not heard, until it is mended (`core.trust`);
- evidence under another group's file (of another release, that is), of a view that the file has not, or that cannot be read is in none;
- what is kept is bounded, also by device: one that says too much of events that nobody asks here is not heard further.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from isthmus_agent.core.fusion import Fused, Fusion
from isthmus_agent.core.trust import Trust
from isthmus_agent.formats import said
from isthmus_agent.formats.evidence import decode
from isthmus_agent.formats.fusion_group import FusionGroup
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.said import Said


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """most_asked: events that wait for their answer here. most_words, most_bytes: of one device's, of events that have no answer here yet.
    most_devices: that are known. most_answered: events whose end is remembered. early_seconds: for which a word waits for its event to be
    asked. answered_seconds: for which the name of an event that was answered is not to be had again. most_missed: times that a device was
    waited for in vain, after which it is not, until it is heard again."""

    most_asked: int = 64
    most_words: int = 96
    most_bytes: int = 16 << 10
    most_devices: int = 64
    most_answered: int = 1024
    early_seconds: float = 10.0
    answered_seconds: float = 600.0
    most_missed: int = 3


@dataclass(frozen=True)
class Publish:
    """To be said to the group."""

    payload: bytes


@dataclass(frozen=True)
class Answered:
    """The one answer to an event. heard: the views whose evidence was looked at, those that were set aside among them."""

    event: str
    fused: Fused
    heard: tuple[str, ...]


Effect = Publish | Answered


class AskedAlreadyError(Exception):
    """The event is asked here, or was."""


class BusyError(Exception):
    """Too many events wait."""


@dataclass
class _Event:
    """said: by device, its place and evidence. ends_at: the deadline where it is asked here, else when it is forgotten."""

    ends_at: float
    is_asked: bool = False
    said: dict[str, tuple[int, bytes]] = field(default_factory=dict)


@dataclass
class _Peer:
    """Another device. words, bytes: of it, that are kept. missed: times that it was waited for in vain."""

    words: int = 0
    bytes: int = 0
    missed: int = 0


@dataclass
class Counts:
    """fused: answers of several views. alone: of the device's own, as nobody else was heard. late: evidence of events that were answered
    without it. repeated: a device's second word of an event. other_release: under another
    group's file. refused: of a view that there is not, or that cannot be read. turned_away: too much. unasked: of events that nobody asked
    here in time."""

    fused: int = 0
    alone: int = 0
    late: int = 0
    repeated: int = 0
    other_release: int = 0
    refused: int = 0
    turned_away: int = 0
    unasked: int = 0


class Fusing:
    """A device and its view. Raises FormatError where the group has no such view."""

    def __init__(self, own: str, view: str, group: FusionGroup, bounds: Bounds = Bounds()) -> None:
        self._own, self._view, self._bounds = own, view, bounds
        self._fusion = Fusion(group)
        self._trust = Trust(self._fusion)
        self._fusion.weights([view])  # raises where it is none
        self._names, self._tag = tuple(it.name for it in group.members), said.tag_of(group.digest)
        self._events: OrderedDict[str, _Event] = OrderedDict()
        self._answered: OrderedDict[str, tuple[float, frozenset[str]]] = OrderedDict()
        self._peers: dict[str, _Peer] = {}
        self._present: frozenset[str] | None = None
        self.counts = Counts()

    @property
    def view(self) -> str:
        return self._view

    @property
    def wakes_at(self) -> float | None:
        """When `tick` is due."""
        return min((it.ends_at for it in self._events.values()), default=None)

    def ask(self, event: str, log_probabilities: Sequence[float], now: float, within_seconds: float) -> list[Effect]:
        """The device's own view of an event: says it to the group, and has it answered within that time.

        Raises FormatError: no event's name, or no answer of this group's (see `evidence_of`); AskedAlreadyError; BusyError.
        """
        said.event_name(event)
        self._forget(now)
        held = self._events.get(event)
        if event in self._answered or (held and held.is_asked):
            raise AskedAlreadyError(f"event {event} is asked here already: one has one answer")
        if sum(it.is_asked for it in self._events.values()) >= self._bounds.most_asked:
            raise BusyError(f"{self._bounds.most_asked} events wait for their answer")
        evidence = self._fusion.written(self._view, log_probabilities)
        place = self._names.index(self._view)
        if held is None:
            held = self._events[event] = _Event(now)
        held.is_asked, held.ends_at = True, now + within_seconds
        held.said[self._own] = (place, evidence)
        return [Publish(said.encoded(Said(self._tag, place, event, evidence))), *self._settled(event, now)]

    def heard(self, device: str, payload: bytes, now: float) -> list[Effect]:
        """What a device has said, by whom the bus says it was. Its own words are not news."""
        if device == self._own:
            return []
        self._forget(now)
        try:
            found = said.decoded(payload)
        except FormatError:
            self.counts.refused += 1
            return []
        peer = self._peers.get(device)
        if peer is None:
            if len(self._peers) >= self._bounds.most_devices and not self._drop_stranger():
                self.counts.turned_away += 1
                return []
            peer = self._peers[device] = _Peer()
        if found.tag != self._tag:
            self.counts.other_release += 1
            peer.missed = self._bounds.most_missed
            return self._all_settled(now)
        peer.missed = 0
        if not self._is_evidence(found):
            self.counts.refused += 1
            return []
        return self._taken(device, peer, found, now)

    def present(self, devices: Collection[str], now: float) -> list[Effect]:
        """Who is there now, as far as the bus knows. Until it has said so, all views of the file are waited for."""
        self._present = frozenset(devices)
        return self._all_settled(now)

    def tick(self, now: float) -> list[Effect]:
        """What is due."""
        effects = [effect for event in self._asked() if self._events[event].ends_at <= now for effect in self._answer(event, now)]
        self._forget(now)
        return effects

    def status(self) -> Mapping[str, object]:
        """For people. there: the others, as far as the bus has said so. distrusted: views that are not heard (`core.trust`)."""
        asked, there = len(self._asked()), sorted((self._present or frozenset()) - {self._own})
        held = {"waiting": asked, "early": len(self._events) - asked}
        return {"view": self._view, "there": there, "distrusted": self._trust.distrusted, **held, **vars(self.counts)}

    def _is_evidence(self, found: Said) -> bool:
        """Whether there is such a view, and its words can be read."""
        if found.place >= len(self._names):
            return False
        try:
            self._fusion.read(found.evidence)
        except FormatError:
            return False
        return True

    def _taken(self, device: str, peer: _Peer, found: Said, now: float) -> list[Effect]:
        counts, bounds = self.counts, self._bounds
        if found.event in self._answered:
            if device in self._answered[found.event][1]:
                counts.repeated += 1
            else:
                counts.late += 1
                until, heard = self._answered[found.event]
                self._answered[found.event] = (until, heard | {device})
            return []
        held = self._events.get(found.event)
        if held is not None and device in held.said:
            counts.repeated += 1
            return []
        if peer.words >= bounds.most_words or peer.bytes + len(found.evidence) > bounds.most_bytes:
            counts.turned_away += 1
            return []
        if held is None:
            held = self._events[found.event] = _Event(now + bounds.early_seconds)
        peer.words += 1
        peer.bytes += len(found.evidence)
        held.said[device] = (found.place, found.evidence)
        return self._settled(found.event, now) if held.is_asked else []

    def _asked(self) -> list[str]:
        return [event for event, it in self._events.items() if it.is_asked]

    def _all_settled(self, now: float) -> list[Effect]:
        return [effect for event in self._asked() for effect in self._settled(event, now)]

    def _settled(self, event: str, now: float) -> list[Effect]:
        """The answer, where there is nobody to wait for."""
        it = self._events[event]
        is_whole = len({place for place, _ in it.said.values()}) == len(self._names)
        if is_whole or it.ends_at <= now or (self._present is not None and not self._missing(it)):
            return self._answer(event, now)
        return []

    def _missing(self, event: _Event) -> list[str]:
        """Those that are there and have said nothing yet, but for those that do not answer."""
        others = (self._present or frozenset()) - event.said.keys() - {self._own}
        return [it for it in others if it not in self._peers or self._peers[it].missed < self._bounds.most_missed]

    def _answer(self, event: str, now: float) -> list[Effect]:
        it = self._popped(event)
        for device in self._missing(it) if it.ends_at <= now else ():
            if device in self._peers or len(self._peers) < self._bounds.most_devices or self._drop_stranger():
                self._peers.setdefault(device, _Peer()).missed += 1
        # Of several that say to be of one view the device's own word, or the one that is first by name: whoever comes first is chance.
        said_by_view: dict[str, bytes] = {}
        for device in sorted(it.said, key=lambda name: (name != self._own, name)):
            place, evidence = it.said[device]
            said_by_view.setdefault(self._names[place], evidence)
        group = self._fusion.group
        evidence_by_view = {view: decode(evidence, group.classes, group.clip) for view, evidence in sorted(said_by_view.items())}
        self._answered[event] = (now + self._bounds.answered_seconds, frozenset(it.said))
        if len(self._answered) > self._bounds.most_answered:
            self._answered.popitem(last=False)
        self.counts.fused += len(evidence_by_view) > 1
        self.counts.alone += len(evidence_by_view) == 1
        fused = self._trust.fused(evidence_by_view)
        return [Answered(event, fused, tuple(view for view in evidence_by_view if view in fused.weights or view in fused.set_aside))]

    def _forget(self, now: float) -> None:
        """What nobody asked in time, and the names of events that were answered long ago."""
        for event in [event for event, it in self._events.items() if not it.is_asked and it.ends_at <= now]:
            self.counts.unasked += len(self._popped(event).said)
        while self._answered and next(iter(self._answered.values()))[0] <= now:
            self._answered.popitem(last=False)

    def _popped(self, event: str) -> _Event:
        found = self._events.pop(event)
        for device, (_, evidence) in found.said.items():
            if peer := self._peers.get(device):
                peer.words -= 1
                peer.bytes -= len(evidence)
        return found

    def _drop_stranger(self) -> bool:
        """Room for another device, by forgetting one that is not there and has nothing waiting."""
        waiting = {device for it in self._events.values() for device in it.said}
        gone = next((it for it in self._peers if it not in waiting and it not in (self._present or ())), None)
        if gone is None:
            return False
        del self._peers[gone]
        return True
