"""One device's part in its group: what it hears and is asked becomes what it says, sends and does.

Whoever runs it gives it the time (seconds of a clock that only goes forward) with all that happens, does the effects in their order, and
calls `tick` when `wakes_at` says so. Not safe for threads.

What holds, whatever the bus loses, repeats, delays or turns round, and whoever dies:

- every request of one's own ends in one `Answered` or one `Unanswered`, and never in two;
- of two owners of a stream only the later one's answers to what it was given count;
- a stream that may not move is done at home.
"""

from collections.abc import Mapping, Sequence

from isthmus_agent.formats import numbers
from isthmus_agent.formats.contents import ANY_CLASS
from isthmus_agent.formats.passing import MOST_PAYLOAD_BYTES, Answer, Outcome, Request
from isthmus_agent.formats.presence import MOST_STREAMS, MOST_WORK, Order, Presence, Stream, last
from isthmus_agent.group.allocation import allocate
from isthmus_agent.group.asking import Asking, Lease
from isthmus_agent.group.effects import Answered, Effect, Joined, Key, Moved, Pass, Say, Torn, Unanswered
from isthmus_agent.group.membership import Membership
from isthmus_agent.group.settings import Settings
from isthmus_agent.group.tiles import Job
from isthmus_agent.group.working import Working

_TILES = "tiles."
_SOON_SHARE = 0.25
"""Of a beat, within which one that has come new hears of those that are there."""


class Core:
    """A device and its streams. start: rising with each start of the program; the number of its boots, say.

    capacity_per_1000_seconds: what it can do, in the units of the streams' work; 0: it only asks. device_class: as the fleet knows it.
    """

    def __init__(self, own: str, start: int, capacity_per_1000_seconds: int, settings: Settings, *, device_class: str = ANY_CLASS) -> None:
        self.own = numbers.device_name(own, "device")
        self._start = numbers.integer(start, "start", 1)
        self._capacity = numbers.integer(capacity_per_1000_seconds, "capacity_per_1000_seconds", 0, MOST_WORK)
        self._class = numbers.device_class(device_class, "device_class")
        self._settings = settings
        self._connection = self._said = 0
        self._is_connected = False
        self._beat_at = 0.0
        self.membership = Membership(settings.expiry_seconds)
        self.asking = Asking(own, start, settings)
        self.working = Working(settings.most_working, settings.most_bytes)
        self._jobs: dict[int, tuple[Job, float]] = {}
        self._tiles: dict[int, tuple[int, str, int]] = {}
        self._last_job = 0

    # What one does with one's own streams

    def offer(self, capacity_per_1000_seconds: int, now: float) -> list[Effect]:
        """Says anew what this device can do. Raises FormatError."""
        self._capacity = numbers.integer(capacity_per_1000_seconds, "capacity_per_1000_seconds", 0, MOST_WORK)
        return [*(self._beat(now) if self._is_connected else ()), *self._settled(now)]

    def open(self, stream: str, work_per_1000_seconds: int, now: float, *, may_move: bool = True, among: str = "") -> list[Effect]:
        """Begins a stream whose home this device is, or says anew what work it is. among: as in `Stream`.

        Raises FormatError, ValueError.
        """
        numbers.name(stream, "stream")
        numbers.integer(work_per_1000_seconds, f"{stream}.work_per_1000_seconds", 0, MOST_WORK)
        leases = self.asking.leases
        if stream.startswith(_TILES) or (stream not in leases and len(leases) >= MOST_STREAMS):
            raise ValueError(f"stream {stream}: expected at most {MOST_STREAMS}, none of which begins with {_TILES}")
        if among:
            numbers.device_class(among, f"{stream}.among")
        old = leases.get(stream, Lease(0, may_move, None, 0))
        leases[stream] = Lease(work_per_1000_seconds, may_move, old.owner, old.epoch, among)
        return self._settled(now)

    def ask(self, stream: str, payload: bytes, now: float, within_seconds: float) -> tuple[int, list[Effect]]:
        """Has a request of a stream done: its id. Raises TooManyError; KeyError for a stream that is not open; ValueError."""
        _check_size(payload)
        number, effects = self.asking.ask(stream, payload, now, within_seconds)
        return number, self._routed(effects, now)

    def split(self, tiles: Sequence[bytes], per_second: Mapping[str, float], now: float, within_seconds: float) -> tuple[int, list[Effect]]:
        """Has one input done in tiles. per_second: of the devices that may have some, as `speeds` gives them. Its number.

        Raises ValueError. What is split may go to all of these devices.
        """
        for tile in tiles:
            _check_size(tile)
        job = Job(tiles, per_second, now)
        self._last_job += 1
        self._jobs[self._last_job] = job, now + within_seconds
        return self._last_job, self._go_on(self._last_job, now)

    def speeds(self, work_per_1000_tiles: int, now: float) -> dict[str, float]:
        """Tiles per second of each device that is there and takes any."""
        return {name: capacity / work_per_1000_tiles for name, capacity in self._capacities(now).items()}

    # What happens

    def connecting(self) -> Presence:
        """Begins another connection: what the broker is to say for this device when it breaks."""
        self._is_connected = False
        self._connection, self._said = self._connection + 1, 0
        return self.leaving()

    def leaving(self) -> Presence:
        """The last word of one that goes, as the broker says it of one whose connection breaks."""
        return Presence(last(self._start, self._connection), device_class=self._class)

    def connected(self, now: float) -> list[Effect]:
        """Others can be reached: what they were asked may have been lost."""
        self._is_connected = True
        return [*self._beat(now), *self._routed(self.asking.ask_again(now), now)]

    def disconnected(self) -> None:
        """Nobody can be reached: with the expiry, all is done at home."""
        self._is_connected = False

    def heard(self, sender: str, presence: Presence, now: float, *, is_retained: bool = False) -> list[Effect]:
        """Another device's word, or the broker's for it."""
        if sender == self.own:
            return []
        is_new = self.membership.hear(sender, presence, now, is_retained=is_retained)
        effects = self._settled(now)
        if is_new:
            self._beat_at = min(self._beat_at, now + _SOON_SHARE * self._settings.beat_seconds)
            effects += self._routed(self.asking.ask_again(now, [sender]), now)
        return effects

    def asked(self, sender: str, request: Request) -> list[Effect]:
        """Another device's request. One that can do nothing says so."""
        if self._capacity == 0:
            return [Pass(sender, Answer(request.tag, Outcome.BUSY))]
        return self.working.asked(sender, request)

    def answered(self, sender: str, answer: Answer, now: float) -> list[Effect]:
        """Another device's answer."""
        return self._routed(self.asking.answer(sender, answer, now), now)

    def done(self, key: Key, outcome: Outcome, payload: bytes, now: float) -> list[Effect]:
        """What came of a `Work` here."""
        return self._routed(self.working.done(key, outcome, payload), now)

    def server_lost(self) -> list[Effect]:
        """Who did the work here died: what was in its hands is to be done by the next."""
        return self.working.again()

    def tick(self, now: float) -> list[Effect]:
        """What time has brought."""
        self.membership.expire(now)
        effects = [*self._settled(now), *self._routed(self.asking.tick(now, is_connected=self._is_connected), now), *self._settled(now)]
        for number in list(self._jobs):
            effects += self._go_on(number, now)
        return [*effects, *(self._beat(now) if self._is_connected and now >= self._beat_at else ())]

    def wakes_at(self, now: float) -> float:
        """When `tick` is of use next."""
        times = (
            self.asking.wakes_at(is_connected=self._is_connected),
            self.membership.wakes_at(),
            self._beat_at if self._is_connected else None,
        )
        return min((it for it in times if it is not None), default=now + self._settings.beat_seconds)

    # How it comes to that

    def _beat(self, now: float) -> list[Effect]:
        self._said += 1
        self._beat_at = now + self._settings.beat_seconds
        order = Order(self._start, self._connection, self._said)
        return [Say(Presence(order, self._capacity, self.asking.streams(), self._class))]

    def _capacities(self, now: float) -> dict[str, int]:
        """Of all that may own streams now, by name."""
        found = {
            name: it.capacity_per_1000_seconds for name, it in self.membership.live(now).items() if not self.asking.is_aside(name, now)
        }
        return {name: capacity for name, capacity in {**found, self.own: self._capacity}.items() if capacity}

    def _settled(self, now: float) -> list[Effect]:
        """Each stream with whom it goes to, as far as this device has a say in it: its own."""
        capacities = self._capacities(now)
        streams: dict[tuple[str, str], Stream] = {}
        live = self.membership.live(now)
        for home, presence in live.items():
            # What others say of their own counts as load where it is; it is theirs to move.
            streams |= {(home, name): it for name, it in presence.streams.items() if it.owner in capacities}
        streams |= {(self.own, name): it for name, it in self._own_streams().items()}
        classes = {**{name: it.device_class for name, it in live.items()}, self.own: self._class}
        owners = allocate(capacities, streams, self._settings, classes)
        own = {name: owner for (home, name), owner in owners.items() if home == self.own}
        effects = self.asking.lease(own, now, {*capacities, self.own})
        if self._is_connected and any(isinstance(it, Moved) for it in effects):
            effects = [*self._beat(now), *effects]
        return self._routed(effects, now)

    def _own_streams(self) -> dict[str, Stream]:
        """With the owner "" where there is none: nobody is called so."""
        return {name: Stream(it.work_per_1000_seconds, it.owner or "", it.may_move, it.among) for name, it in self.asking.leases.items()}

    def _routed(self, effects: Sequence[Effect], now: float) -> list[Effect]:
        """What goes to oneself does not go over the bus, and answers to tiles go to their job."""
        found: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Pass) and effect.to == self.own:
                message = effect.message
                if isinstance(message, Request):
                    inner = self.working.asked(self.own, message)
                else:
                    inner = self.asking.answer(self.own, message, now)
                found += self._routed(inner, now)
            elif isinstance(effect, Answered | Unanswered) and effect.id in self._tiles:
                found += self._tile(effect, now)
            elif not isinstance(effect, Pass) or self._is_connected:
                found.append(effect)
        return found

    def _tile(self, effect: Answered | Unanswered, now: float) -> list[Effect]:
        """One tile's end, and what its job does next."""
        number, device, index = self._tiles.pop(effect.id)
        if number not in self._jobs:
            return []
        job = self._jobs[number][0]
        if isinstance(effect, Answered):
            job.done(device, index, effect.payload)
        else:
            job.lose(device, index)
        if (results := job.results) is not None:
            del self._jobs[number]
            return [Joined(number, results)]
        return self._go_on(number, now)

    def _go_on(self, number: int, now: float) -> list[Effect]:
        """Gives out as many tiles of a job as devices take and there is room for, or ends it."""
        job, ends_at = self._jobs[number]
        if job.is_lost or now >= ends_at:
            del self._jobs[number]
            # The end of those that are not withdrawn is among the effects already, and is nobody's then.
            for it in [it for it, (of, _, _) in self._tiles.items() if of == number and self.asking.withdraw(it)]:
                del self._tiles[it]
            return [Torn(number, "no device is left that does its tiles" if job.is_lost else "there was no answer in time")]
        passed: list[Effect] = []
        while self.asking.has_room(job.largest_bytes) and (found := job.next(now)):
            device, index = found
            it, effects = self.asking.ask(f"{_TILES}{number}", job.tiles[index], now, ends_at - now, of=device)
            self._tiles[it] = number, device, index
            passed += effects
        return self._routed(passed, now)


def _check_size(payload: bytes) -> None:
    if len(payload) > MOST_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {len(payload)} bytes, expected {MOST_PAYLOAD_BYTES} at most")
