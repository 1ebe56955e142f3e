"""The manager's process: everything that it consists of, put together."""

import fcntl
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from isthmus_agent.core import step
from isthmus_agent.core.state import Moment
from isthmus_agent.disk import durable, opening
from isthmus_agent.manager import enrolment, grouping, listening, serving, telling
from isthmus_agent.manager.control import Control
from isthmus_agent.manager.counting import Counting
from isthmus_agent.manager.executor import Executor, Mailbox, Rooms
from isthmus_agent.manager.fetching import Fetcher
from isthmus_agent.manager.history import History
from isthmus_agent.manager.looking import Looker
from isthmus_agent.manager.mailing import Mailing
from isthmus_agent.manager.notify import Watcher
from isthmus_agent.manager.refreshing import in_child
from isthmus_agent.manager.reporter import Reporter, Sender
from isthmus_agent.manager.repository import Address, Repository
from isthmus_agent.manager.sampling import Sampling
from isthmus_agent.manager.settings import Listen, Settings
from isthmus_agent.manager.signing_v4 import StoreClock
from isthmus_agent.manager.transport import Transport
from isthmus_agent.manager.way import Way

_METADATA: Final = "metadata"
_REPORTED: Final = "reported"
_COUNTED: Final = "counted"
_MARK_BYTES: Final = 6
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MOST_HELD_BACK_SECONDS: Final = 120.0


class CannotRunError(Exception):
    """Why there is no manager, with what to do about it."""


def run(
    settings: Settings, *, mirror: Path | None = None, say: Callable[[str], None] = lambda text: None, clock: StoreClock | None = None
) -> Executor:
    """Lives until SIGTERM or SIGINT; with a mirror, until what is in it is confirmed, or of no use. Raises CannotRunError."""
    folder = settings.state_directory
    with _alone(folder):
        enrolment.mend(folder)
        watcher = Watcher(os.environ)
        listener = _listening(settings.local.listen)
        try:
            # A program that looks into a mirror and ends is nobody's peer.
            executor = made(settings, listener, watcher, clock, say=say, is_member=mirror is None)
        except OSError as error:
            listener.close()
            fix = "free some of the disk, or make it writable"
            raise CannotRunError(f"cannot use {folder}: {error.strerror or error}. Fix: {fix}") from None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: executor.stop())
        if mirror is not None:
            executor.update_from(mirror)
            executor.ends_when_settled = True
        with _control(folder, executor, say):
            say(f"device {settings.device.name} listens on {where(listener)}")
            watcher.ready()
            executor.run()
    return executor


@contextmanager
def _control(folder: Path, executor: Executor, say: Callable[[str], None]) -> Iterator[None]:
    """Answers people at the device. A disk that takes no socket keeps nobody from being served."""
    try:
        control = Control(folder, executor.asked)
    except OSError as error:
        say(f"status, rollback and update cannot ask this program: {folder} takes no socket ({error.strerror or error})")
        yield
        return
    try:
        yield
    finally:
        control.close()


def made(
    settings: Settings,
    listener: socket.socket,
    watcher: Watcher,
    clock: StoreClock | None = None,
    *,
    say: Callable[[str], None] = lambda text: None,
    is_member: bool = True,
) -> Executor:
    """A device that has not begun to live yet. is_member: it takes part in the group that its configuration names."""
    folder, identity, device, local = settings.state_directory, settings.identity, settings.device, settings.local
    disk, mailbox, clock = opening.opened(folder), Mailbox(), clock or StoreClock()
    ways = [Way(identity.credentials, clock, ca_file=local.ca_file) for _ in range(2)]
    address = Address(identity.url, device.fleet)
    looker = Looker(Repository(address, folder / _METADATA, identity.root, ways[0], refresh=in_child), ways[0], clock, device, mailbox.tell)
    limits = local.limits.within(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    seed, mark = os.urandom(16).hex(), int.from_bytes(os.urandom(_MARK_BYTES), "big")
    now = Moment(time.monotonic())
    begun = step.start(device, local.pace, disk.kept, now, held=disk.held, seed=seed, is_lost=disk.is_lost, boot_id=_boot_id())
    group = grouping.made(settings, listener, begun[0].kept.boots, limits.request_seconds, say) if is_member else None
    peers = grouping.peers_of(settings) if group else None
    view = grouping.view_of(settings) if group else None
    served = serving.Settings(limits, local.stop_first, about=settings.about, fallback=local.fallback, peers=peers, view=view)
    held_back_seconds = min(_MOST_HELD_BACK_SECONDS, local.pace.heartbeat_seconds)
    sender = Sender(device.name, device.fleet, identity.url, identity.report_key, held_back_seconds)
    transport, samples_transport, counts_transport = (Transport(identity.credentials, ca_file=local.ca_file, clock=clock) for _ in range(3))

    def utc_seconds() -> float | None:
        return looker.utc_seconds(disk.kept.time_floor)

    sampling = Sampling(Mailing(sender, samples_transport, local.pace.heartbeat_seconds), utc_seconds) if local.may_sample else None
    counting = Counting(folder / _COUNTED, sender, counts_transport, may_tell=local.may_tell_counts)
    rooms = Rooms(
        disk,
        serving.Serving(
            [listener],
            served,
            grouping.heard(group, mailbox.tell),
            disk.slots.path,
            sampling,
            counting=counting,
            evidence=grouping.evidence_of(group),
        ),
        looker,
        Fetcher(disk, ways[1], address.targets_url, mailbox.tell, content_key=identity.content_key),
        Reporter(disk.queue, sender, transport, folder / _REPORTED),
        History(folder / telling.HISTORY, lambda: utc_seconds() or clock.now()),
        ways,
        identity.url,
        group,
        counting,
    )
    return Executor(begun, rooms, mailbox, mark, watcher)


def _boot_id() -> str:
    """Of the machine's life; empty where the kernel does not say."""
    found = durable.read(_BOOT_ID, 64) or b""
    return found.decode("ascii", "replace").strip()


def where(listener: socket.socket) -> str:
    """The address to ask."""
    name = listener.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    return f"http://[{name[0]}]:{name[1]}" if ":" in name[0] else f"http://{name[0]}:{name[1]}"


def _listening(listen: Listen) -> socket.socket:
    try:
        if listen.socket is not None:
            listen.socket.parent.mkdir(parents=True, exist_ok=True)
            return listening.listen_unix(listen.socket)
        return listening.listen_tcp(listen.address, listen.port)
    except OSError as error:
        at = str(listen.socket) if listen.socket else f"{listen.address}:{listen.port}"
        raise CannotRunError(f"cannot listen on {at}: {error.strerror}. Fix: choose another one (listen), or end what uses it") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One manager in a folder at a time. The folder itself is locked: that also goes where the disk takes nothing."""
    try:
        if not folder.is_dir():
            durable.make_folder(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CannotRunError(f"cannot use {folder}: {error.strerror or error}. Fix: make it a folder of this user's own") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotRunError(f"another isthmus-agent uses {folder}. Fix: end it first, or ask it (isthmus-agent status)") from None
        yield
    finally:
        os.close(descriptor)
