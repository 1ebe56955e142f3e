"""A group of devices on a bus that does its worst: it loses, repeats, delays, reorders and restarts, and devices die or stop for a while.

Time is simulated. Each device has a clock of its own: another zero, and a rate that is off by up to 2 %.
"""

import heapq
import itertools
import math
import random
from dataclasses import dataclass, field

from isthmus_agent.formats import passing, presence
from isthmus_agent.formats.passing import Outcome, Request
from isthmus_agent.group.core import Core
from isthmus_agent.group.effects import Answered, Effect, Joined, Moved, Pass, Say, Torn, Unanswered, Work
from isthmus_agent.group.settings import Settings

SETTINGS = Settings(most_aside_seconds=20.0)


def result_of(payload: bytes) -> bytes:
    """What a device makes of a request."""
    return b"done " + payload


@dataclass
class Device:
    """name, its capacity, and its clock against the world's."""

    name: str
    capacity: int
    zero: float
    rate: float
    start: int = 0
    life: int = 0
    core: Core | None = None
    link: int | None = None
    will: bytes = b""
    is_paused: bool = False
    held: list = field(default_factory=list)
    streams: dict[str, tuple[int, bool]] = field(default_factory=dict)
    asked: dict[int, bytes] = field(default_factory=dict)
    ended: dict[int, Effect] = field(default_factory=dict)
    jobs: dict[int, Effect] = field(default_factory=dict)
    moves: list[tuple[float, Moved]] = field(default_factory=list)
    worked: list[tuple[str, int, int]] = field(default_factory=list)
    seconds_per_request: float = 0.05
    answers_nothing: bool = False
    busy_until: float = 0.0


class World:
    """The devices, the broker between them, and what is on its way."""

    def __init__(
        self,
        seed: int,
        capacities: dict[str, int],
        settings: Settings = SETTINGS,
        *,
        repeats: float = 0.2,
        most_delay: float = 0.2,
        losses: float = 0.0,
    ) -> None:
        self.random, self.settings, self.now = random.Random(seed), settings, 0.0  # noqa: S311 - a history is to come again
        self.repeats, self.most_delay, self.losses = repeats, most_delay, losses
        self.devices = {
            name: Device(name, capacity, self.random.uniform(-1e6, 1e6), self.random.uniform(0.98, 1.02))
            for name, capacity in capacities.items()
        }
        self.is_broker_up, self.retained, self._links, self._events, self._order = True, {}, itertools.count(), [], itertools.count()
        for name in capacities:
            self.begin(name)

    def clock(self, device: Device) -> float:
        return device.zero + device.rate * self.now

    # What the adversary does

    def begin(self, name: str) -> None:
        """A program starts; what an earlier one asked is forgotten."""
        device = self.devices[name]
        device.start, device.life, device.is_paused, device.held = device.start + 1, device.life + 1, False, []
        device.asked, device.ended, device.jobs = {}, {}, {}
        device.core = Core(name, device.start, device.capacity, self.settings)
        for stream, (work, may_move) in device.streams.items():
            self._do(device, device.core.open(stream, work, self.clock(device), may_move=may_move))
        self.connect(name)

    def kill(self, name: str) -> None:
        """SIGKILL: the broker notices, or it does not."""
        device = self.devices[name]
        device.core, device.life = None, device.life + 1
        self._break(device)

    def cut(self, name: str) -> None:
        """The network of one device is gone; it comes back with `connect`."""
        device = self.devices[name]
        self._break(device)
        if device.core is not None:
            device.core.disconnected()

    def connect(self, name: str) -> None:
        device = self.devices[name]
        if device.core is None or device.link is not None or not self.is_broker_up:
            return
        device.will = presence.encoded(device.core.connecting())
        device.link = next(self._links)
        for sender, content in self.retained.items():
            self._later(device, "presence", sender, content, is_retained=True)
        self._do(device, device.core.connected(self.clock(device)))

    def stop_broker(self, *, forgets: bool) -> None:
        self.is_broker_up = False
        for name in self.devices:
            self.cut(name)
        self._events = [it for it in self._events if it[2] != "message"]
        heapq.heapify(self._events)
        if forgets:
            self.retained = {}

    def start_broker(self) -> None:
        self.is_broker_up = True

    def pause(self, name: str) -> None:
        """SIGSTOP: nothing happens in it, and what comes waits."""
        self.devices[name].is_paused = True

    def resume(self, name: str) -> None:
        device = self.devices[name]
        device.is_paused = False
        held, device.held = device.held, []
        for it in held:
            self._happen(*it)

    def lose_server(self, name: str) -> None:
        """The serving process died with all that was in its hands."""
        device = self.devices[name]
        if device.core is not None:
            device.life, device.busy_until = device.life + 1, self.now
            self._do(device, device.core.server_lost())

    # What programs at the devices do

    def open(self, name: str, stream: str, work: int, *, may_move: bool = True) -> None:
        device = self.devices[name]
        device.streams[stream] = work, may_move
        if device.core is not None:
            self._do(device, device.core.open(stream, work, self.clock(device), may_move=may_move))

    def offer(self, name: str, capacity: int) -> None:
        """A device can do more, or less."""
        device = self.devices[name]
        device.capacity = capacity
        self._do(device, device.core.offer(capacity, self.clock(device)))

    def ask(self, name: str, stream: str, payload: bytes, within_seconds: float = 1e9) -> int:
        device = self.devices[name]
        number, effects = device.core.ask(stream, payload, self.clock(device), within_seconds)
        device.asked[number] = payload
        self._do(device, effects)
        return number

    def split(self, name: str, tiles: list[bytes], speeds: dict[str, float], within_seconds: float = 1e9) -> int:
        device = self.devices[name]
        number, effects = device.core.split(tiles, speeds, self.clock(device), within_seconds)
        self._do(device, effects)
        return number

    # Time

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            wakes = [(self._wakes_at(it), it.name) for it in self.devices.values() if it.core is not None and not it.is_paused]
            at, name = min(wakes, default=(math.inf, ""))
            if self._events and self._events[0][0] <= min(at, until):
                self.now, _, _, device, what = heapq.heappop(self._events)
                self._happen(device, what)
            elif at <= until:
                self.now = max(self.now, at)
                device = self.devices[name]
                self._do(device, device.core.tick(self.clock(device)))
            else:
                self.now = until
                return

    def _wakes_at(self, device: Device) -> float:
        # A little later than asked for: clocks are read in floats.
        return max(self.now, (device.core.wakes_at(self.clock(device)) - device.zero) / device.rate) + 1e-6

    def _happen(self, device: Device, what: tuple) -> None:
        if device.is_paused:
            device.held.append((device, what))
            return
        core, now = device.core, self.clock(device)
        kind, mark, *rest = what
        if kind == "work":
            if core is not None and mark == device.life:
                key, payload = rest
                self._do(device, core.done(key, Outcome.DONE, result_of(payload), now))
            return
        if core is None or mark != device.link:
            return
        sender, content, is_retained = rest
        if kind == "presence":
            self._do(device, core.heard(sender, presence.decoded(content), now, is_retained=is_retained))
        elif kind == "request":
            if not device.answers_nothing:
                self._do(device, core.asked(sender, passing.request(content)))
        else:
            self._do(device, core.answered(sender, passing.answer(content), now))

    # The bus

    def _do(self, device: Device, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Say):
                self._publish(device.name, presence.encoded(effect.presence))
            elif isinstance(effect, Pass):
                kind = "request" if isinstance(effect.message, Request) else "answer"
                if device.link is not None:
                    self._later(self.devices[effect.to], kind, device.name, passing.encoded(effect.message))
            elif isinstance(effect, Work):
                device.worked.append(effect.key)
                # One at a time, as an interpreter does them.
                device.busy_until = max(device.busy_until, self.now) + device.seconds_per_request * self.random.uniform(0.95, 1.05)
                self._push(device.busy_until - self.now, "work", device, ("work", device.life, effect.key, effect.payload))
            elif isinstance(effect, Answered | Unanswered):
                assert effect.id in device.asked, "an answer to what was not asked"
                assert effect.id not in device.ended, "a second answer"
                if isinstance(effect, Answered):
                    assert effect.payload == result_of(device.asked[effect.id])
                device.ended[effect.id] = effect
            elif isinstance(effect, Joined | Torn):
                assert effect.job not in device.jobs
                device.jobs[effect.job] = effect
            elif isinstance(effect, Moved):
                device.moves.append((self.now, effect))

    def _publish(self, sender: str, content: bytes) -> None:
        self.retained[sender] = content
        for device in self.devices.values():
            self._later(device, "presence", sender, content)

    def _later(self, device: Device, kind: str, sender: str, content: bytes, *, is_retained: bool = False) -> None:
        if device.link is None or (kind != "presence" and self.random.random() < self.losses):
            return
        for _ in range(1 + (self.random.random() < self.repeats)):
            what = kind, device.link, sender, content, is_retained
            self._push(self.random.uniform(0, self.most_delay), "message", device, what)

    def _push(self, delay: float, kind: str, device: Device, what: tuple) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), kind, device, what))

    def _break(self, device: Device) -> None:
        if device.link is None:
            return
        device.link = None
        if self.is_broker_up and self.random.random() < 0.5:
            self._publish(device.name, device.will)
