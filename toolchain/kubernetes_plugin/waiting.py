"""Waiting: until an object is ready, or gone. Polls, because a poll survives an API server that restarts."""

import time
from collections.abc import Callable
from typing import Any, Final

from toolchain.kubernetes_plugin.client import Client
from toolchain.kubernetes_plugin.discovery import Discovery
from toolchain.kubernetes_plugin.objects import TIMEOUT, annotation
from toolchain.kubernetes_plugin.pods import Live
from toolchain.kubernetes_plugin.readiness import Readiness, readiness

from isthmus.apiserver.connection import Object
from isthmus.apiserver.errors import ApiError
from isthmus.errors import PlatformError
from isthmus.plugin.bags.handler import Call
from isthmus.plugin.handler import StoppedWaitingError

TIMEOUT_SECONDS: Final = 600.0
_FIRST_INTERVAL_SECONDS: Final = 0.2
_LONGEST_INTERVAL_SECONDS: Final = 2.0
_EXPLAIN_EVERY_SECONDS: Final = 5.0
_SETTLED_SECONDS: Final = 10.0


class NotReadyError(PlatformError):
    """The object is there, but does not work. live: as it was seen last. reasons: one line each."""

    def __init__(self, live: Object, reasons: list[str]) -> None:
        super().__init__("\n".join(reasons))
        self.live = live
        self.reasons = reasons


class Surroundings:
    """`pods.Look` over the API server: what cannot be read counts as not there, because it only explains."""

    def __init__(self, client: Client, discovery: Discovery, call: Call, namespace: str) -> None:
        self._client = client
        self._discovery = discovery
        self._call = call
        self._namespace = namespace

    def list(self, api_version: str, kind: str, *, labels: str = "", fields: str = "") -> list[Live]:
        query = {key: value for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
        items = self._get(api_version, kind, "", **query).get("items", ())
        return [{**item, "apiVersion": api_version, "kind": kind} for item in items]

    def get(self, api_version: str, kind: str, name: str) -> Live | None:
        return self._get(api_version, kind, name) or None

    def _get(self, api_version: str, kind: str, name: str, **query: str) -> Object:
        try:
            path = self._discovery.find(self._call, api_version, kind).path(self._namespace, name)
            return self._client.get(self._call, path, **query)
        except ApiError:
            return {}

    def log(self, pod: str, container: str, lines: int) -> str:
        path = f"{self._discovery.find(self._call, 'v1', 'Pod').path(self._namespace, pod)}/log"
        for previous in ("true", "false"):
            try:
                query = {"container": container, "tailLines": str(lines), "previous": previous, "limitBytes": "4096"}
                text = self._client.request(self._call, "GET", path, query)
            except ApiError:
                continue
            if text:
                return str(text)
        return ""


def timeout_seconds(call: Call, inputs: Any) -> float:
    """How long to wait: the user's `custom_timeouts`, the annotation, or ten minutes."""
    if call.timeout_seconds:
        return call.timeout_seconds
    try:
        return float(annotation(inputs, TIMEOUT))
    except ValueError:
        return TIMEOUT_SECONDS


def until_ready(call: Call, look: Surroundings, live: Object, read: Callable[[], Object], timeout: float) -> Object:
    """Waits; returns the object as it is then.

    read: the object now.

    Raises:
        NotReadyError: it failed, the time is over, the engine asked to stop, or the API server went away.
    """
    name = f"{live['kind']} {live['metadata']['name']}"
    start, interval, explained = time.monotonic(), _FIRST_INTERVAL_SECONDS, time.monotonic()
    settling = start
    try:
        while True:
            state = readiness(live, look)
            now = time.monotonic()
            settling = settling if state.settles else now
            if state.done or now - settling >= _SETTLED_SECONDS:
                return live
            if state.failed or now - start > timeout:
                why = "failed" if state.failed else f"is not ready after {timeout:g} s"
                raise NotReadyError(live, _reasons(f"{name} {why}", state))
            details = []
            if now - explained >= _EXPLAIN_EVERY_SECONDS:
                explained, details = now, list(state.explain())[:1]
            call.progress("; ".join([f"{state.progress} ({int(now - start)} s)", *details]))
            if call.cancelled.wait(min(interval, max(timeout - (now - start), 0.01))):
                raise NotReadyError(live, _reasons(f"interrupted while waiting for {name}", state))
            interval = min(1.5 * interval, _LONGEST_INTERVAL_SECONDS)
            live = read()
    except NotReadyError:
        raise
    except (StoppedWaitingError, PlatformError) as error:
        raise NotReadyError(live, [f"{name} is there, but it is not known whether it is ready: {error}"]) from None


def _reasons(first: str, state: Readiness) -> list[str]:
    try:
        details = list(state.explain())
    except (StoppedWaitingError, PlatformError):
        details = []
    return [f"{first}: {state.progress}" if state.progress else first, *details]


def until_gone(call: Call, kind_and_name: str, uid: str, read: Callable[[], Object], timeout: float) -> None:
    """Waits until nothing, or another object, has the name.

    Raises:
        PlatformError: it is still there when the time is over; the text says which finalizers hold it.
        StoppedWaitingError: the engine asked to stop.
    """
    start, interval = time.monotonic(), _FIRST_INTERVAL_SECONDS
    while True:
        try:
            live = read()
        except ApiError as error:
            if error.status == 404:
                return
            raise
        if uid and live["metadata"].get("uid") != uid:
            return
        spent = time.monotonic() - start
        holders = _holders(live)
        if spent > timeout:
            raise PlatformError(f"{kind_and_name} is still there {timeout:g} s after its deletion" + (f"; {holders}" if holders else ""))
        call.progress(f"being deleted ({int(spent)} s)" + (f"; {holders}" if holders else ""))
        if call.cancelled.wait(interval):
            raise StoppedWaitingError(f"interrupted while {kind_and_name} is being deleted")
        interval = min(1.5 * interval, _LONGEST_INTERVAL_SECONDS)


def _holders(live: Object) -> str:
    """What a deletion waits for."""
    finalizers = live["metadata"].get("finalizers") or []
    conditions = live.get("status", {}).get("conditions") or ()
    remaining = [str(c.get("message")) for c in conditions if c.get("status") == "True" and str(c.get("type", "")).startswith("Namespace")]
    held = [f"waiting for finalizers: {', '.join(finalizers)}"] if finalizers else []
    return "; ".join([*held, *remaining])
