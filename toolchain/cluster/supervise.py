"""Keeps a set of programs running: supervisord's configuration, and the one process that everything else descends from."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from toolchain.cluster.plan import Program
from toolchain.prepare.steps import PrepareError, replace_file

LOG_BYTES = 20 << 20
END_SECONDS = 30.0
POLL_SECONDS = 0.1

_DAEMON = """[unix_http_server]
file={socket}
chmod=0600
[supervisord]
nodaemon=true
pidfile={run}/supervisord.pid
logfile={logs}/supervisord.log
logfile_maxbytes=2MB
logfile_backups=1
directory={root}
umask=022
user=root
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{socket}
"""

_PROGRAM = """[program:{name}]
command={command}
directory={root}
environment={environment}
autostart={autostart}
autorestart=true
startsecs=1
startretries=1000
stopsignal={stop_signal}
stopwaitsecs={stop_seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes={log_bytes}
stdout_logfile_backups=1
"""


@dataclass(frozen=True)
class Process:
    """A process that can't be mistaken for a later one with the same id. started: in clock ticks after the machine's start."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Process":
        """The running process with this id. Raises ProcessLookupError."""
        started = _started(pid)
        if started is None:
            raise ProcessLookupError(pid)
        return cls(pid, started)

    @property
    def alive(self) -> bool:
        """Whether it still runs (a zombie does not)."""
        return _started(self.pid) == self.started

    def end(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal, if it is still this process."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _started(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Asks again and again; False if it took too long."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def configuration(root: Path, run: Path, programs: Sequence[Program], wrap: Callable[[Program], Sequence[str]]) -> str:
    """supervisord's configuration. wrap: program → the command that runs it where it belongs."""

    def escaped(text: str) -> str:
        return text.replace("%", "%%")

    places = {"socket": run / "supervisor.sock", "run": run, "root": root, "logs": root / "logs"}
    daemon = _DAEMON if os.geteuid() == 0 else _DAEMON.replace("user=root\n", "")
    parts = [daemon.format(**{name: escaped(str(path)) for name, path in places.items()})]
    for program in programs:
        variables = ",".join(f'{name}="{escaped(value)}"' for name, value in program.environment.items())
        command = escaped(shlex.join(map(str, wrap(program))))
        parts.append(
            _PROGRAM.format(
                name=program.name,
                command=command,
                environment=variables,
                autostart=str(not program.on_demand).lower(),
                stop_signal="TERM" if program.on_demand else "KILL",
                stop_seconds=f"{END_SECONDS:.0f}",
                log_bytes=LOG_BYTES,
                root=escaped(str(root)),
                logs=escaped(str(root / "logs")),
            )
        )
    return "".join(parts)


def daemon_command(configuration_file: Path) -> list[str]:
    """Runs supervisord in the foreground."""
    return [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--configuration", str(configuration_file)]


def control_command(configuration_file: Path, *arguments: str) -> list[str]:
    """Speaks to the supervisord of this configuration; to be run where its socket is."""
    return [sys.executable, "-m", "supervisor.supervisorctl", "--configuration", str(configuration_file), *arguments]


def start(command: Sequence[str], root: Path, environ: Mapping[str, str]) -> Process:
    """Starts a process that outlives this one; its own words go to logs/start.log."""
    (root / "logs").mkdir(parents=True, exist_ok=True)
    with (root / "logs" / "start.log").open("ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=dict(environ),
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    process.returncode = 0  # not ours to wait for: it is left running on purpose
    return Process.of(process.pid)


def save(file: Path, value: Mapping[str, object]) -> None:
    """Writes a record as JSON; processes in it as their fields."""
    replace_file(file, json.dumps(value, indent=1, default=asdict).encode(), 0o600)


def end(process: Process) -> None:
    """Ends a supervisord and its programs: asks first, then kills. Raises PrepareError if it stays."""
    process.end(signal.SIGTERM)
    if not wait_until(lambda: not process.alive, END_SECONDS):
        process.end()
        if not wait_until(lambda: not process.alive, END_SECONDS):
            raise PrepareError(f"process {process.pid} can't be ended. Fix: look at its state in /proc/{process.pid}/status")
