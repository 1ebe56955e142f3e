"""One program under a supervisor: brought, replica by replica, to what its resource asks for."""

import contextlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from isthmus.errors import PlatformError
from isthmus.plugin.handler import Context, StoppedWaitingError
from isthmus.provider.local import health, orphans, ports, readiness
from isthmus.provider.local.layout import Layout, write_private
from isthmus.provider.local.replicas import Place, Replica, render, replica_from, replica_name
from isthmus.provider.local.supervisord import RUNNING_STATES, Supervisord, UnreachableSupervisorError, clean_environment

logger = logging.getLogger(__name__)

# Where this package lies, for the interpreters that are started.
_PACKAGES: Final = Path(__file__).parents[3]
# A process that was started this often without becoming ready will not do so; nor will one that ended at once this often.
_MOST_STARTS: Final = 3
_MOST_FAILED_STARTS: Final = 2
_POLL_SECONDS: Final = 0.1
_MOST_ASKED_AT_ONCE: Final = 16
_LOG_LINES: Final = 20
_LOG_TAIL_BYTES: Final = 4000


@dataclass(frozen=True)
class Saved:
    """What was last asked for and made.

    owner: URN of the resource. making: the mark of that one (see `schema.MAKING`). replicas: by index.
    pending: those that were not yet seen to run as described.
    """

    owner: str
    inputs: Mapping[str, Any]
    replicas: Mapping[int, Replica]
    pending: frozenset[int] = frozenset()
    making: str = ""


class Program:
    """A program by its name under a supervisor."""

    def __init__(self, supervisord: Supervisord, name: str) -> None:
        self._supervisord = supervisord
        self._layout: Layout = supervisord.layout
        self.name = name

    def saved(self) -> Saved | None:
        try:
            raw = json.loads(self._layout.program(self.name).read_text(encoding="utf-8"))
            replicas = {int(index): replica_from(replica) for index, replica in raw["replicas"].items()}
            return Saved(raw["owner"], raw["inputs"], replicas, frozenset(raw["pending"]), raw.get("making", ""))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.debug("%s is not readable: %s", self._layout.program(self.name), error)
            return None

    def _save(self, saved: Saved) -> None:
        replicas = {index: asdict(replica) for index, replica in saved.replicas.items()}
        content = {**vars(saved), "replicas": replicas, "pending": sorted(saved.pending)}
        write_private(self._layout.program(self.name), json.dumps(content))

    def mark(self, making: str) -> None:
        saved = self.saved()
        if saved is not None and saved.making != making:
            self._save(replace(saved, making=making))

    def running(self) -> list[Replica]:
        """The replicas whose processes run now. Empty where the supervisor does not."""
        saved = self.saved()
        if saved is None:
            return []
        try:
            return [replica for _, replica in sorted(saved.replicas.items()) if self._supervisord.is_running(replica.name)]
        except UnreachableSupervisorError:
            return []

    def working(self, context: Context, *, waits: bool = True) -> tuple[list[Replica], list[str]]:
        """Those of the running replicas that work, and what is wrong with the others. Takes its time with those.

        waits: for those that are just starting.
        """
        saved, running = self.saved(), self.running()
        if saved is None or not running:
            return [], []

        def look(replica: Replica) -> str:
            return health.ailment(self._supervisord, replica, saved.inputs["ready"], context, waits=waits)

        with ThreadPoolExecutor(_MOST_ASKED_AT_ONCE) as pool:
            try:
                ailments = list(pool.map(look, running))
            except UnreachableSupervisorError:
                return [], []
        return [it for it, ailment in zip(running, ailments, strict=True) if not ailment], [ailment for ailment in ailments if ailment]

    def pids(self, replicas: Sequence[Replica]) -> list[int]:
        """Process ids of running replicas."""
        found = []
        with contextlib.suppress(UnreachableSupervisorError):
            for replica in replicas:
                info = self._supervisord.info(replica.name)
                if info is not None:
                    found.append(int(info["pid"]))
        return found

    def reconcile(self, inputs: Mapping[str, Any], owner: str, context: Context) -> None:
        """Makes the program what the inputs say: one replica after the other, each ready before the next is touched.

        inputs: of LocalProcesses, with defaults, fully known. owner: URN of the resource. A replica that runs and is as
        it should be is not touched, unless the resource is made anew. Raises PlatformError; what was done until then stays.
        """
        self._supervisord.ensure_running(context)
        saved = self.saved()
        making = saved.making if saved else ""
        # A resource may have got another URN, by an alias, and is known by its making then.
        if saved is not None and saved.owner != owner and (not making or making != context.making) and self.running():
            raise PlatformError(f"{self.name} is run already by {saved.owner}; give this one another name")
        replicas = dict(saved.replicas) if saved else {}
        pending = saved.pending if saved else frozenset()
        if making and making != context.making:
            pending |= {index for index, replica in replicas.items() if not self._supervisord.started_it(replica.name)}
        count = inputs["replicas"]
        for index in range(count):
            previous = replicas.get(index)
            replica = self._render(inputs, index, previous)
            fresh = previous is None or index in pending or replica.needs_restart(previous)
            if not fresh and saved is not None and previous is not None:
                fresh = bool(health.ailment(self._supervisord, previous, saved.inputs["ready"], context))
            replicas[index] = replica
            pending |= {index} if fresh else set()
            # Saved before anything is started: what is not known cannot be cleaned up.
            self._save(Saved(owner, inputs, replicas, pending, making))
            title = f"{self.name} {index + 1}/{count}"
            if fresh:
                context.progress(f"{title}: starting")
                self._stop(replica, context)
            self._write(replica, previous, fresh=fresh)
            self._start(replica, inputs["ready"], title, context, fresh=fresh)
            pending -= {index}
            self._save(Saved(owner, inputs, replicas, pending, making))
        for index in sorted(index for index in replicas if index >= count):
            self._remove(replicas.pop(index), context)
            self._save(Saved(owner, inputs, replicas, pending, making))

    def _render(self, inputs: Mapping[str, Any], index: int, previous: Replica | None) -> Replica:
        before = previous.ports if previous else {}
        running = previous is not None and self._holds_its_ports(previous)
        chosen: dict[str, int] = {}
        for name, wanted in inputs["ports"].items():
            kept = before.get(name)
            if wanted:
                chosen[name] = wanted
            elif kept is not None and (running or ports.is_free(kept)):
                chosen[name] = kept
            else:
                chosen[name] = ports.choose(self._ports_of_all())
        name = replica_name(self.name, index)
        sockets = {socket: str(self._layout.replica_socket(name, socket)) for socket in inputs.get("sockets", ())}
        return render(inputs, index, Place(self._layout.replica(self.name, index), chosen, sockets), sys.executable)

    def _holds_its_ports(self, replica: Replica) -> bool:
        info = self._supervisord.info(replica.name)
        if info is None or info["statename"] not in RUNNING_STATES:
            return False
        return not health.shared_port(replica, orphans.family(info["pid"]))

    def _ports_of_all(self) -> set[int]:
        """Ports that any program of this supervisor was given, running or not."""
        taken: set[int] = set()
        for path in (self._layout.directory / "programs").glob("*.json"):
            saved = Program(self._supervisord, path.stem).saved()
            if saved is not None:
                taken |= {port for replica in saved.replicas.values() for port in replica.ports.values()}
        return taken

    def _stop(self, replica: Replica, context: Context) -> None:
        self._supervisord.stop(replica.name, context)
        orphans.end(self._layout.directory, context, replica.name)
        _remove_files(replica.remains)

    def _write(self, replica: Replica, previous: Replica | None, *, fresh: bool) -> None:
        """Writes a replica's files: those that a start reads where it is due (fresh), the live ones in any case."""
        directory = Path(replica.directory)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if fresh:
            self._check_ports(replica)
            _write_files(directory, replica.files, previous.files if previous else {}, keep=replica.live_files)
            write_private(self._layout.launch(replica.name), replica.launch(self._environment(replica)))
        _write_files(directory, replica.live_files, previous.live_files if previous else {}, keep=replica.files)

    def _start(self, replica: Replica, ready: Mapping[str, Any], title: str, context: Context, *, fresh: bool) -> None:
        """Starts a replica where that is due (fresh), and waits until it is ready."""
        log_start = _size(self._layout.output(replica.name))
        # supervisord starts it as soon as it knows it; one that it knew before has to be started.
        self._supervisord.configure(replica.name, Path(replica.directory))
        if fresh:
            self._supervisord.start(replica.name)
        try:
            self._await_ready(replica, ready, title, log_start, context)
        except PlatformError as error:
            if fresh and not isinstance(error, StoppedWaitingError | UnreachableSupervisorError):
                # Left to supervisord, it would go on failing.
                self._supervisord.stop(replica.name, context)
            raise

    def _check_ports(self, replica: Replica) -> None:
        for name, port in replica.ports.items():
            if not ports.is_free(port):
                raise PlatformError(f"port {port} ({name}) of {replica.name} is held by {ports.holder(port).description}")

    def _environment(self, replica: Replica) -> dict[str, str]:
        environment = clean_environment(os.environ)
        environment["PYTHONUNBUFFERED"] = "1"  # so that the last lines are in the log when it dies
        if replica.command[0] == sys.executable:
            environment["PYTHONPATH"] = str(_PACKAGES)
        return {**environment, orphans.MARK: str(self._layout.directory), orphans.REPLICA_MARK: replica.name}

    def _await_ready(self, replica: Replica, ready: Mapping[str, Any], title: str, log_start: int, context: Context) -> None:
        timeout = readiness.timeout_seconds(ready)
        probe = readiness.probe(ready, replica.ports, replica.sockets)
        last: readiness.Failure | str | None = "it did not start"
        pids: set[int] = set()
        failed_starts: set[int] = set()

        def is_ready() -> bool:
            nonlocal last
            info = self._info(replica.name)
            state = info["statename"]
            if state in RUNNING_STATES and info["pid"]:
                pids.add(info["pid"])
            if state == "BACKOFF":
                failed_starts.add(info["start"])
            if state == "FATAL" or len(pids) > _MOST_STARTS or len(failed_starts) >= _MOST_FAILED_STARTS:
                raise PlatformError(self._failure(replica, "does not stay up", info["spawnerr"], log_start))
            if state not in RUNNING_STATES:
                last = "its process ended"
                return False
            if probe is None:
                return bool(state == "RUNNING")
            last = failure = probe.failure()
            if failure is not None and failure.is_final:
                raise PlatformError(self._failure(replica, "does not answer right", failure.text, log_start))
            return last is None

        if not context.wait_until(is_ready, timeout, f"{title}: waiting for {probe or 'its process'}", _POLL_SECONDS):
            what = f"was not ready within {timeout:g} s"
            raise PlatformError(self._failure(replica, what, f"waited for {probe or 'its process'}: {last}", log_start))
        if shared := health.shared_port(replica, orphans.family(self._info(replica.name)["pid"])):
            raise PlatformError(f"{replica.name}: {shared}")

    def _info(self, name: str) -> Mapping[str, Any]:
        info = self._supervisord.info(name)
        if info is None:
            raise PlatformError(f"{name} was removed from the supervisor in {self._layout.directory}")
        return info

    def _failure(self, replica: Replica, what: str, why: str, log_start: int) -> str:
        path = self._layout.output(replica.name)
        lines = _tail(path, log_start)
        reason = f" ({why})" if why else ""
        logged = f"the last lines of its log, {path}:\n" + "\n".join(lines) if lines else f"it wrote nothing to its log, {path}"
        return f"{replica.name} {what}{reason}; {logged}"

    def _remove(self, replica: Replica, context: Context) -> None:
        layout = self._layout
        with contextlib.suppress(UnreachableSupervisorError):
            self._supervisord.remove(replica.name, context)
        orphans.end(layout.directory, context, replica.name)
        logs = layout.output(replica.name).parent.glob(f"{replica.name}.log*")
        _remove_files([*replica.remains, layout.conf(replica.name), layout.launch(replica.name), *logs])
        shutil.rmtree(replica.directory, ignore_errors=True)

    def remove(self, owner: str, context: Context) -> None:
        """Ends all replicas and removes all that is theirs. A program that another resource has taken over is left alone."""
        saved = self.saved()
        if saved is None or (saved.owner != owner and (not saved.making or saved.making != context.making)):
            return
        replicas = dict(saved.replicas)
        for index in sorted(saved.replicas, reverse=True):
            context.progress(f"stopping {replica_name(self.name, index)}")
            self._remove(replicas.pop(index), context)
            self._save(replace(saved, replicas=dict(replicas)))
        shutil.rmtree(self._layout.replica(self.name, 0).parent, ignore_errors=True)
        self._layout.program(self.name).unlink(missing_ok=True)


def _write_files(directory: Path, files: Mapping[str, str], previous: Mapping[str, str], keep: Mapping[str, str]) -> None:
    """Writes what changed, and removes what is no longer among the files (nor in `keep`)."""
    for name in previous:
        if name not in files and name not in keep:
            (directory / name).unlink(missing_ok=True)
    for name, content in files.items():
        path = directory / name
        if previous.get(name) != content or not path.is_file():
            write_private(path, content)


def _remove_files(paths: Iterable[str | Path]) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            Path(path).unlink()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _tail(path: Path, start: int) -> list[str]:
    """The last lines that were written from `start` on (bytes; from the beginning, where the log was rotated since)."""
    deadline = time.monotonic() + 0.5
    while True:
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                first = start if size >= start else 0
                file.seek(max(first, size - _LOG_TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            lines = []
        # supervisord may still be copying the last words of a process that just died.
        if lines or time.monotonic() > deadline:
            return lines[-_LOG_LINES:]
        time.sleep(0.05)
