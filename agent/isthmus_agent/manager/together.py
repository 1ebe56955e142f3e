"""A device's part in its group: the member at the broker, what it does for others, and the way there from programs on the device.

The server's process, or a program, asks at the gate (`manager.gate`), under

    /peers/CLASS/v1/models/…:predict     a peer of that class; `*`: whichever. Never this device itself
    /streams/NAME/v1/models/…:predict    whoever has the stream's lease: this device, or another of the group while it is too busy or has no
                                         server. A request is kept here until it has its one answer
    /told/SUBJECT                        says the body to all of the group that listen to the subject

and what others ask is done by this device's own server (`manager.doing`). What a device offers is what its server was measured to do, in
requests per 1000 seconds; what a stream needs is how often it was asked.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from isthmus_agent.bus.link import Broker
from isthmus_agent.bus.member import Listen, Member, UnansweredError
from isthmus_agent.core import events
from isthmus_agent.core.events import Event
from isthmus_agent.core.state import Device
from isthmus_agent.formats import numbers
from isthmus_agent.formats.carried import Call, encoded_call, is_call, result_in
from isthmus_agent.formats.numbers import MILLION, FormatError
from isthmus_agent.formats.passing import Outcome
from isthmus_agent.group.asking import TooManyError
from isthmus_agent.group.core import Core
from isthmus_agent.group.effects import Key
from isthmus_agent.manager.doing import Doing
from isthmus_agent.manager.gate import Asked, Gate, Said
from isthmus_agent.manager.group_settings import GroupSettings

PEERS, STREAMS, TOLD = "/peers/", "/streams/", "/told/"
_OF_PEERS: Final = "peers."
"""How the stream of a class of peers begins: no program can name one so."""
_UNMEASURED_PER_1000_SECONDS: Final = 10_000
"""What a server is taken to do until it was measured: 10 requests a second."""
_RATE_SECONDS: Final = 2.0
"""That requests of a stream are counted for, at least, until it is said anew what it needs."""
_NEWS_SHARE: Final = 0.25
"""By so much a rate or a capacity has to change to be news: of the larger one."""
_NOBODY_SECONDS: Final = 1
_LATE_SECONDS: Final = 0.5
"""Beyond the deadline, that a request's end may take to come."""


@dataclass
class _Rate:
    """Of one stream: requests since a moment, and what it was last said to need per 1000 seconds."""

    since: float
    count: int = 0
    said: int = 0


class Together:
    """Takes part from `start` to `close`. address: of this device's server. start: rising with each start of the program. say: gets a line
    for each change that a person may want to know of. Raises OSError, FormatError where the password cannot be read any more."""

    def __init__(
        self,
        settings: GroupSettings,
        device: Device,
        folder: Path,
        address: Any,
        *,
        start: int,
        request_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        broker = settings.broker
        at = Broker(
            host=broker.host,
            user=device.name,
            password=settings.password(),
            ca_file=settings.ca_file if broker.is_secure else None,
            port=broker.port,
            speaks_5=settings.speaks_5,
        )
        self._settings, self._say = settings, say
        self._listens: dict[str, Listen] = {}
        core = Core(device.name, start, 0, settings.pace, device_class=device.device_class)
        self.doing = Doing(address, self._done, request_seconds)
        self._member: Member | None = None
        self._make = partial(Member, settings.name, at, core, self.doing.take, say=self._told)
        self._there: Callable[[Sequence[str]], None] = lambda names: None
        self.gate = Gate(folder)
        for beginning, handle in ((PEERS, self._ask_peer), (STREAMS, self._ask_stream), (TOLD, self._tell)):
            self.gate.route(beginning, handle)
        self._lock = threading.Lock()
        self._rates: dict[str, _Rate] = {}
        self._offered, self._measured = 0, _UNMEASURED_PER_1000_SECONDS
        self.asked_of_peers = self.answered_by_peers = 0

    def listen(self, subject: str, heard: Listen) -> None:
        """Has what others tell of a subject heard; before `start`. See `Member`."""
        self._listens[numbers.name(subject, "subject")] = heard

    def publisher(self, subject: str) -> Callable[[bytes], bool]:
        """What tells a subject from any thread: whether it could be said."""

        def publish(content: bytes) -> bool:
            return self._member is not None and self._member.tell(subject, content)

        return publish

    def follow(self, there: Callable[[Sequence[str]], None]) -> None:
        """Has it heard who else is there, whenever that changes; before `start`."""
        self._there = there

    def start(self) -> None:
        """Begins to take part; and where the folder takes no socket, without programs of this device."""
        self._member = self._make(listens=self._listens, there=self._there)
        self._member.offer(self._offered)
        self._member.start()
        self.doing.start()
        try:
            self.gate.start()
        except OSError as error:
            self._told(f"programs on this device cannot ask the group: no socket ({error.strerror or error})")

    def close(self) -> None:
        """Leaves the group."""
        self.gate.close()
        if self._member is not None:
            self._member.close()
        self.doing.close()

    @property
    def member(self) -> Member:
        """Raises UnansweredError before `start`."""
        if self._member is None:
            raise UnansweredError("this device takes no part in its group yet")
        return self._member

    def see(self, event: Event) -> None:
        """What becomes of the server, from any thread: by that others know what this device can do."""
        if isinstance(event, events.Serving):
            self._offer(self._measured)
        elif isinstance(event, events.Crashed):
            self._offer(0)  # until the next server is there, others do it
        elif isinstance(event, events.Measured) and event.measurement.p95_microseconds:
            self._measured = max(1, 1000 * MILLION // event.measurement.p95_microseconds)
            self._offer(self._measured if self._offered else 0)

    def status(self) -> Mapping[str, Any]:
        """For people at the device. state: connecting, away (failure says why; the device serves on by itself), alone, or together."""
        settings = self._settings
        found: dict[str, Any] = {"name": settings.name, "state": "connecting", "shares_inputs": settings.shares_inputs}
        with suppress(UnansweredError, LateError):
            now = self.member.status()
            is_away = not now["is_connected"]
            state = ("away" if now["failure"] else "connecting") if is_away else ("together" if now["members"] else "alone")
            found |= {**now, "state": state}
        return {
            **found,
            "offers_per_1000_seconds": self._offered,
            "done": self.doing.done,
            "asked_of_peers": self.asked_of_peers,
            "answered_by_peers": self.answered_by_peers,
        }

    def _told(self, text: str) -> None:
        self._say(f"group {self._settings.name}: {text}")

    def _done(self, key: Key, outcome: Outcome, payload: bytes) -> None:
        self.member.done(key, outcome, payload)

    def _offer(self, per_1000_seconds: int) -> None:
        found = min(per_1000_seconds, self._settings.most_per_1000_seconds)
        if abs(found - self._offered) > _NEWS_SHARE * max(found, self._offered):
            self._offered = found
            with suppress(UnansweredError):
                self.member.offer(found)

    # What programs on this device ask

    def _ask_peer(self, asked: Asked) -> Said:
        if not self._settings.shares_inputs:
            return Said(403, b"what this device is asked stays on it")
        device_class, _, path = asked.path.partition("/")
        try:
            among = numbers.device_class(device_class, "class")
        except FormatError as error:
            return Said(400, str(error).encode())
        stream = f"{_OF_PEERS}{'any' if among == '*' else f'of.{among}'}"
        said = self._asked_of(stream, f"/{path}", asked, among)
        with self._lock:
            self.asked_of_peers += 1
            self.answered_by_peers += said.status == 200
        return said

    def _ask_stream(self, asked: Asked) -> Said:
        name, _, path = asked.path.partition("/")
        try:
            numbers.name(name, "stream")
        except FormatError as error:
            return Said(400, str(error).encode())
        if name.startswith(_OF_PEERS):
            return Said(400, f"no stream is called {_OF_PEERS}…".encode())
        return self._asked_of(name, f"/{path}", asked, "")

    def _asked_of(self, stream: str, path: str, asked: Asked, among: str) -> Said:
        if asked.method != "POST" or not is_call(path):
            return Said(404, b"only predictions are asked for here: POST /v1/models/MODEL:predict")
        try:
            self._count(stream, among)
            member = self.member
            if among and member.owner(stream) is None:
                return Said(503, f"no peer of class {among} is there".encode(), _NOBODY_SECONDS)
            answer: Future[bytes] = member.ask(stream, encoded_call(Call(path, asked.body)), asked.within_seconds)
            result = result_in(answer.result(asked.within_seconds + _LATE_SECONDS))
        except TooManyError as error:
            return Said(429, str(error).encode(), _NOBODY_SECONDS)
        except (UnansweredError, LateError) as error:
            return Said(504, str(error).encode())
        except (FormatError, ValueError) as error:
            return Said(400, str(error).encode())
        return Said(result.status, result.body)

    def _count(self, stream: str, among: str) -> None:
        """One more request of a stream, which is opened by its first; what it needs is said anew when that is another."""
        with self._lock:
            now, rate = time.monotonic(), self._rates.get(stream)
            is_new = rate is None
            rate = rate or self._rates.setdefault(stream, _Rate(now))
            rate.count += 1
            seconds = now - rate.since
            if seconds >= _RATE_SECONDS:
                found = round(1000 * rate.count / seconds)
                rate.since, rate.count = now, 0
                is_new = abs(found - rate.said) > _NEWS_SHARE * max(found, rate.said)
                rate.said = found if is_new else rate.said
            if is_new:
                try:
                    self.member.open(stream, rate.said, may_move=bool(among) or self._settings.shares_inputs, among=among)
                except BaseException:
                    del self._rates[stream]
                    raise

    def _tell(self, asked: Asked) -> Said:
        try:
            was_sent = self.member.tell(asked.path, asked.body)
        except (FormatError, ValueError) as error:
            return Said(400, str(error).encode())
        except UnansweredError as error:
            return Said(503, str(error).encode())
        return Said(202) if was_sent else Said(503, b"the broker is away", _NOBODY_SECONDS)
