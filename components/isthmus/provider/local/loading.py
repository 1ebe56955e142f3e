"""Servers that run, and what they have loaded: waiting until a version is there and answers right, or is gone."""

import http.client
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isthmus.errors import PlatformError
from isthmus.names import model_path
from isthmus.plugin.handler import Context
from isthmus.provider.local.layout import Layout
from isthmus.provider.local.program import Program
from isthmus.provider.local.readiness import Probe
from isthmus.provider.local.supervisord import Supervisord
from isthmus.provider.local.unix import UnixConnection

LOAD_SECONDS: Final = 180.0
"""Until a server that runs has loaded one more version; a busy machine takes its time."""
LET_GO_SECONDS: Final = 60.0
_ASK_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.2
_AVAILABLE: Final = "AVAILABLE"
_REST: Final = "rest"


@dataclass(frozen=True)
class Servers:
    """Those of one service on this machine. supervisor: its folder. program: their name there."""

    supervisor: str
    program: str
    model_name: str

    def running(self) -> dict[str, str]:
        """Name → path of the REST socket."""
        found = Program(Supervisord(Layout(Path(self.supervisor))), self.program).running()
        return {it.name: it.sockets[_REST] for it in found if _REST in it.sockets}

    def await_loaded(self, version: int, about: Path, context: Context) -> None:
        """Waits until each server that runs has a version, and it answers as its release does. about: the folder of its golden vectors.

        Raises PlatformError, which names the first server that has not, or does not, and why.
        """
        for name, socket in self.running().items():
            self._await(name, socket, version, str(about), context)

    def await_gone(self, versions: Collection[int], context: Context) -> None:
        """Waits until no server that runs has any of these. Raises PlatformError."""
        for name, socket in self.running().items():
            for version in versions:

                def is_gone(socket: str = socket, version: int = version) -> bool:
                    return self._state(socket, version)[0] != _AVAILABLE

                if not context.wait_until(is_gone, LET_GO_SECONDS, f"{name}: waiting until version {version} is gone", _POLL_SECONDS):
                    raise PlatformError(f"{name} has version {version} still, {LET_GO_SECONDS:g} s after it was taken from it")

    def _await(self, name: str, socket: str, version: int, about: str, context: Context) -> None:
        probe, why = Probe(socket, model_path(self.model_name), None, about), ""

        def is_loaded() -> bool:
            nonlocal why
            state, why = self._state(socket, version)
            if state == "END" and why:
                raise PlatformError(f"{name} cannot load version {version}: {why}")
            wrong = probe.failure() if state == _AVAILABLE else None
            if wrong is not None and wrong.is_final:
                raise PlatformError(f"{name} has version {version}, and {wrong}")
            why = str(wrong) if wrong else why
            return state == _AVAILABLE and wrong is None

        if not context.wait_until(is_loaded, LOAD_SECONDS, f"{name}: waiting for version {version}", _POLL_SECONDS):
            raise PlatformError(f"{name} has not loaded version {version} within {LOAD_SECONDS:g} s{f': {why}' if why else ''}")

    def _state(self, socket: str, version: int) -> tuple[str, str]:
        """State of a version, as TensorFlow Serving calls it, and what went wrong with it; both empty where the server knows nothing of it,
        or does not answer."""
        connection = UnixConnection(socket, _ASK_SECONDS)
        try:
            connection.request("GET", f"{model_path(self.model_name)}/versions/{version}")
            status = json.loads(connection.getresponse().read())["model_version_status"][0]
            return str(status["state"]), str(status["status"]["error_message"])
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            return "", ""
        finally:
            connection.close()
