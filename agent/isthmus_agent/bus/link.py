"""One device's connection to a broker, made again whenever it breaks. A thread of its own; what happens is told in the order it happens.

A connection is a client of its own: nothing waits in one that broke, since requests are kept, and asked again, by who asked them. MQTT 5
is spoken, and 3.1.1 with a broker that has no 5: nothing here needs more.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, Final

from isthmus_agent.bus.failures import BusFailure, DeviceFailure, OldFailure, UnreachableFailure, refused, unreachable
from isthmus_agent.core.backoff import doubled_seconds

_KEEP_ALIVE_SECONDS: Final = 5
_CONNECT_SECONDS: Final = 5.0
_MOST_QUEUED: Final = 512
"""Messages on their way out."""
_AT_LEAST_ONCE: Final = 1
_PORT, _TLS_PORT = 1883, 8883


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Where the broker is, and who the device is to it.

    user is the device's name, and is what the broker's ACL goes by. ca_file: the authority of the broker's certificate; without one there
    is no TLS, which is for a loopback alone. port: 8883 with TLS, 1883 without. speaks_5: what is tried first; where a broker does not
    answer a version, the other one is tried, but some that know 3.1.1 alone take seconds to hang up on 5.
    """

    host: str
    user: str
    password: str = field(repr=False)
    ca_file: Path | None = None
    port: int | None = None
    speaks_5: bool = True
    first_backoff_seconds: float = 0.5
    most_backoff_seconds: float = 60.0

    @property
    def at(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or (_TLS_PORT if self.ca_file else _PORT)


@dataclass(frozen=True)
class Up:
    """The broker has taken the device, and its subscriptions."""


@dataclass(frozen=True)
class Down:
    """There is no connection, and why."""

    why: BusFailure


@dataclass(frozen=True)
class Heard:
    """A message."""

    topic: str
    content: bytes
    is_retained: bool


class Link:
    """The connection. tell: gets Up, Down and Heard. will: topic and content that the broker keeps for when this connection breaks.

    filters: what is read. random: spreads the waits.
    """

    def __init__(
        self,
        broker: Broker,
        filters: Sequence[str],
        will: Callable[[], tuple[str, bytes]],
        tell: Callable[[Up | Down | Heard], None],
        random: Random,
    ) -> None:
        self._broker, self._filters, self._will, self._tell, self._random = broker, filters, will, tell, random
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._client: Any = None
        self._made_last: Any = None
        self._speaks_5 = broker.speaks_5
        self._failures = 0
        self._thread = threading.Thread(target=self._live, name="group-link", daemon=True)
        self.dropped = 0

    def start(self) -> None:
        """Begins to connect."""
        self._thread.start()

    def send(self, topic: str, content: bytes, *, retain: bool = False) -> bool:
        """Hands a message over. False where it was dropped (and counted): no connection, or too much on the way out."""
        with self._lock:
            client = self._client
        if client is not None and client.publish(topic, content, _AT_LEAST_ONCE, retain).rc == 0:
            return True
        self.dropped += 1
        return False

    def close(self, farewell: tuple[str, bytes] | None = None) -> None:
        """Ends the connection. farewell: topic and content of a last, retained word, said if it can be."""
        self._closing.set()
        with self._lock:
            client, self._client, made = self._client, None, self._made_last
        if client is not None and farewell is not None and (said := client.publish(*farewell, _AT_LEAST_ONCE, True)).rc == 0:
            said.wait_for_publish(timeout=1.0)
        if made is not None:
            made.disconnect()
        self._thread.join(timeout=_CONNECT_SECONDS + 1.0)

    def _live(self) -> None:
        while not self._closing.is_set():
            why = self._connection()
            with self._lock:
                self._client = None
            if self._closing.is_set():
                return
            self._tell(Down(why))
            if isinstance(why, OldFailure):
                continue
            self._failures += 1
            first = self._broker.most_backoff_seconds if why.is_patient else self._broker.first_backoff_seconds
            longest = doubled_seconds(first, self._broker.most_backoff_seconds, self._failures)
            self._closing.wait(longest * (0.5 + 0.5 * self._random.random()))

    def _connection(self) -> BusFailure:
        """One connection's life, and why it ended."""
        try:
            import paho.mqtt.client as mqtt
        except ImportError:
            return DeviceFailure("paho-mqtt is not installed. Fix: pip install 'isthmus-agent[group]'")
        try:
            context = ssl.create_default_context(cafile=self._broker.ca_file) if self._broker.ca_file else None
        except OSError as error:
            return DeviceFailure(f"{self._broker.ca_file} cannot be used: {error.strerror or error}. Fix: a file of certificates in PEM")
        life = _Life()
        client = self._made(mqtt, life)
        with self._lock:
            self._made_last = client
        if context is not None:
            client.tls_set_context(context)
        try:
            client.connect(*self._broker.at, keepalive=_KEEP_ALIVE_SECONDS, **({"clean_start": True} if self._speaks_5 else {}))
        except OSError as error:
            return unreachable(error)
        except ValueError as error:
            return DeviceFailure(f"{self._broker.at} is no broker's address: {error}")
        # Paho's own thread, so that whatever is sent from another one is written by it alone: TLS does not bear two writers.
        client.loop_start()
        if life.is_settled.wait(2 * _CONNECT_SECONDS):
            life.is_over.wait()
        else:
            life.why = UnreachableFailure("the broker takes connections, and answers nothing")
            client.disconnect()
        client.loop_stop()
        if life.why is None:
            # A broker that cannot read a CONNECT of version 5 may just hang up on it.
            old = self._speaks_5 and not life.is_taken
            life.why = OldFailure("the broker hung up on MQTT 5") if old else UnreachableFailure("the connection to the broker broke")
        if isinstance(life.why, OldFailure):
            self._speaks_5 = not self._speaks_5
            # At once with 3.1.1; one that takes neither version is not asked in turns without a pause.
            return UnreachableFailure(str(life.why)) if self._speaks_5 else life.why
        return life.why

    def _made(self, mqtt: ModuleType, life: "_Life") -> Any:
        broker = self._broker
        more = {"protocol": mqtt.MQTTv5} if self._speaks_5 else {"protocol": mqtt.MQTTv311, "clean_session": True}
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=broker.user, reconnect_on_failure=False, **more)
        client.username_pw_set(broker.user, broker.password)
        client.connect_timeout = _CONNECT_SECONDS
        client.max_queued_messages_set(_MOST_QUEUED)
        topic, content = self._will()
        client.will_set(topic, content, _AT_LEAST_ONCE, retain=True)

        def on_connect(_client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
            if code.is_failure:
                life.why = refused(str(code))
                return
            life.is_taken = True
            if self._closing.is_set():
                client.disconnect()
                return
            client.subscribe([(it, _AT_LEAST_ONCE) for it in self._filters])

        def on_subscribe(_client: Any, _data: Any, _mid: int, codes: Sequence[Any], _properties: Any) -> None:
            if bad := next((code for code in codes if code.is_failure), None):
                life.why = refused("Not authorized" if "authorized" in str(bad).lower() or not self._speaks_5 else str(bad))
                client.disconnect()
                return
            life.is_settled.set()
            self._failures = 0
            with self._lock:
                self._client = client
            self._tell(Up())

        def on_disconnect(_client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
            if life.why is None and life.is_taken and code.is_failure:
                life.why = UnreachableFailure(f"the connection to the broker broke: {code}")
            life.is_settled.set()
            life.is_over.set()

        # A request is several small writes; each would wait for the other side's delayed acknowledgement, some 40 ms, of the one before.
        client.on_socket_open = lambda _client, _data, it: it.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.on_connect, client.on_subscribe, client.on_disconnect = on_connect, on_subscribe, on_disconnect
        client.on_message = lambda _client, _data, message: self._tell(Heard(message.topic, message.payload, message.retain))
        return client


@dataclass
class _Life:
    """What becomes of one connection. is_taken: by the broker. is_settled: it is of use, or over."""

    why: BusFailure | None = None
    is_taken: bool = False
    is_settled: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)
