"""One supervisord: started detached, so that it outlives the plugin, and spoken to over its unix socket."""

import contextlib
import http.client
import logging
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from isthmus.errors import PlatformError
from isthmus.plugin.handler import Context
from isthmus.provider.local import orphans
from isthmus.provider.local.layout import MARK, Layout, write_private
from isthmus.provider.local.unix import UnixConnection

logger = logging.getLogger(__name__)

_ANSWER_TIMEOUT_SECONDS: Final = 10
_START_TIMEOUT_SECONDS: Final = 30
# After a TERM, a process has this long before supervisord kills it.
STOP_GRACE_SECONDS: Final = 10
_STOP_TIMEOUT_SECONDS: Final = STOP_GRACE_SECONDS + 5
_SHUTDOWN_TIMEOUT_SECONDS: Final = STOP_GRACE_SECONDS + 20
_LOG_BYTES: Final = 5 << 20

_PLUGIN_STARTED: Final = time.time()

RUNNING_STATES: Final = frozenset({"STARTING", "RUNNING"})
# supervisord's fault codes that say that the wanted state is there already.
_NO_SUCH_NAME: Final = 10
_NOT_RUNNING: Final = 70
_ALREADY_STARTED: Final = 60
_ALREADY_ADDED: Final = 90

_CONFIG = """{mark}
[unix_http_server]
file={socket}
chmod=0600
[supervisord]
pidfile={pid_file}
logfile={log}
logfile_maxbytes=1MB
logfile_backups=1
loglevel=info
directory={directory}
umask=077
strip_ansi=false
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{socket}
[include]
files=conf.d/*.conf
"""

_PROGRAM = """{mark}
[program:{name}]
command={command}
directory={directory}
autostart=true
autorestart=true
startsecs=1
startretries=10
stopsignal=TERM
stopwaitsecs={grace}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={output}
stdout_logfile_maxbytes={log_bytes}
stdout_logfile_backups=1
"""

# One plugin serves all resources of a supervisor at once; starting it, and adding programs to it, is for one at a time.
_locks: defaultdict[Path, threading.RLock] = defaultdict(threading.RLock)


class UnreachableSupervisorError(PlatformError):
    """No supervisord answers on the socket."""


class Supervisord:
    """The supervisord of one folder."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.lock = _locks[layout.directory]

    # The daemon.

    def pid(self) -> int | None:
        """Its process id; None where it does not run, or hangs."""
        try:
            return int(self._ask("getPID"))
        except UnreachableSupervisorError:
            return None

    def _started_pid(self) -> int:
        """What it wrote when it started; 0 where it did not."""
        try:
            return int(self.layout.pid_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def is_new(self, pid: int) -> bool:
        """Whether it was started since this plugin was, by which it is part of the same update."""
        return orphans.started_at(pid) >= orphans.started_at(os.getpid())

    def ensure_running(self, context: Context) -> int:
        """Starts it where it does not run, with every program that is configured, and returns its process id.

        One that does not answer is ended, and what an earlier one left running, after it was killed: it would hold the ports.
        Raises PlatformError.
        """
        with self.lock:
            self.layout.make()
            pid = self.pid()
            if pid is not None:
                return pid
            orphans.end(self.layout.directory, context)
            self.layout.socket.unlink(missing_ok=True)
            write_private(self.layout.config, self._config())
            self._start()
            if not context.wait_until(lambda: self.pid() is not None, _START_TIMEOUT_SECONDS, "waiting for supervisord"):
                raise PlatformError(f"supervisord did not start within {_START_TIMEOUT_SECONDS} s; its log is {self.layout.log}")
            return self.pid() or 0

    def shut_down(self, context: Context) -> None:
        """Ends it and everything under it, whatever state they are in."""
        with self.lock:
            pid = None
            with contextlib.suppress(PlatformError):
                pid = self.pid()
            if pid is not None:
                with contextlib.suppress(PlatformError):
                    self._ask("shutdown")
                context.wait_until(lambda: not orphans.is_alive(pid), _SHUTDOWN_TIMEOUT_SECONDS, "stopping the processes")
            orphans.end(self.layout.directory, context)
            self.layout.socket.unlink(missing_ok=True)

    def _config(self) -> str:
        paths = {
            "socket": self.layout.socket,
            "pid_file": self.layout.pid_file,
            "log": self.layout.log,
            "directory": self.layout.directory,
        }
        return _CONFIG.format(mark=MARK, **{name: str(path) for name, path in paths.items()})

    def _start(self) -> None:
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.layout.config)]
        environment = {**clean_environment(os.environ), orphans.MARK: str(self.layout.directory)}
        try:
            result = subprocess.run(
                command,
                env=environment,
                cwd=self.layout.directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_START_TIMEOUT_SECONDS,
                check=False,
                start_new_session=True,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PlatformError(f"supervisord cannot be started: {error}") from error
        if result.returncode:
            said = (result.stderr or result.stdout).decode(errors="replace").strip().splitlines()
            raise PlatformError(f"supervisord cannot be started: {said[-1] if said else f'exit code {result.returncode}'}")

    # Its programs.

    def configure(self, name: str, directory: Path) -> None:
        """Makes supervisord know a replica, and start it; nothing happens to one that it knows already."""
        layout = self.layout
        command = [sys.executable, "-IS", str(Path(__file__).with_name("launch.py")), str(layout.launch(name))]
        conf = _PROGRAM.format(
            mark=MARK,
            name=name,
            command=shlex.join(command),
            directory=str(directory),
            grace=STOP_GRACE_SECONDS,
            output=str(layout.output(name)),
            log_bytes=_LOG_BYTES,
        )
        with self.lock:
            path = layout.conf(name)
            changed = not path.exists() or path.read_text(encoding="utf-8") != conf
            if changed:
                self.remove(name)
                write_private(path, conf)
            if changed or self.info(name) is None:
                with _suppress_fault(_ALREADY_ADDED):
                    self._ask("reloadConfig")
                    self._ask("addProcessGroup", name)

    def info(self, name: str) -> Mapping[str, Any] | None:
        """`statename`, `pid`, `exitstatus`, `spawnerr` … of a replica; None where supervisord does not know it.

        Raises UnreachableSupervisorError.
        """
        try:
            info: Mapping[str, Any] = self._ask("getProcessInfo", name)
            return info
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _NO_SUCH_NAME:
                return None
            raise PlatformError(f"supervisord: {fault.faultString}") from fault

    def is_running(self, name: str) -> bool:
        """Whether the replica's process runs (or is just starting). Raises UnreachableSupervisorError."""
        info = self.info(name)
        return info is not None and info["statename"] in RUNNING_STATES

    def started_it(self, name: str) -> bool:
        """Whether the replica's process was started since this plugin was, by which it is part of the same update."""
        info = self.info(name)
        return info is not None and bool(info["start"] >= int(_PLUGIN_STARTED))  # whole seconds

    def start(self, name: str) -> None:
        with _suppress_fault(_ALREADY_STARTED):
            self._ask("startProcess", name, False)

    def stop(self, name: str, context: Context) -> None:
        """Ends a replica's process and waits until it is gone. A replica that does not run is fine."""
        with _suppress_fault(_NOT_RUNNING, _NO_SUCH_NAME):
            pid = self._ask("getProcessInfo", name)["pid"]
            self._ask("stopProcess", name, False)
            orphans.resume(pid)  # one that is stopped takes no other signal but the last
        if not context.wait_until(lambda: self._is_stopped(name), _STOP_TIMEOUT_SECONDS, f"stopping {name}"):
            raise PlatformError(f"{name} did not stop within {_STOP_TIMEOUT_SECONDS} s")

    def _is_stopped(self, name: str) -> bool:
        info = self.info(name)
        return info is None or info["statename"] in {"STOPPED", "EXITED", "FATAL"}

    def remove(self, name: str, context: Context | None = None) -> None:
        """Makes supervisord forget a replica, once its process has ended, and removes its configuration."""
        try:
            if self.info(name) is not None:
                self.stop(name, context or Context(""))
                with self.lock, _suppress_fault(_NO_SUCH_NAME):
                    self._ask("removeProcessGroup", name)
        finally:
            self.layout.conf(name).unlink(missing_ok=True)

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Calls supervisord. Raises UnreachableSupervisorError, xmlrpc.client.Fault."""
        if orphans.is_stopped(self._started_pid()):
            raise UnreachableSupervisorError(f"supervisord at {self.layout.socket} is stopped")
        transport = _UnixTransport(self.layout.socket)
        try:
            with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport, allow_none=True) as proxy:
                return getattr(proxy, f"supervisor.{method}")(*arguments)
        except TimeoutError as error:
            message = f"supervisord at {self.layout.socket} runs but did not answer in {_ANSWER_TIMEOUT_SECONDS} s"
            raise UnreachableSupervisorError(message) from error
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise UnreachableSupervisorError(f"no supervisord answers at {self.layout.socket} ({error})") from error


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return UnixConnection(str(self._path), _ANSWER_TIMEOUT_SECONDS)


@contextlib.contextmanager
def _suppress_fault(*codes: int) -> Iterator[None]:
    try:
        yield
    except xmlrpc.client.Fault as fault:
        if fault.faultCode not in codes:
            raise PlatformError(f"supervisord: {fault.faultString}") from fault


# What a process inherits. A list of what may pass, because the plugin's own environment holds the stack's passphrase and
# the user's cloud credentials.
_INHERITED: Final = frozenset(
    {
        *("HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    }
)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that processes get. Commands of the plugin's own installation come first on PATH."""
    kept = {name: value for name, value in environment.items() if name.upper() in _INHERITED or name.startswith("LC_")}
    path = environment.get("PATH", os.defpath)
    return {**kept, "PATH": os.pathsep.join([str(Path(sys.executable).parent), path])}


def find_command(name: str) -> str | None:
    """Where a process would find this command."""
    return shutil.which(name, path=clean_environment(os.environ)["PATH"])
