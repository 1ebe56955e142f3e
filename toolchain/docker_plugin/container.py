"""docker:index/container:Container."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import docker
from docker.utils import version_lt
from toolchain.docker_plugin import container_config, container_state
from toolchain.docker_plugin.connection import ConflictError, Connection, NotFoundError
from toolchain.docker_plugin.image import ensure
from toolchain.docker_plugin.inputs import changes, plain, problems, state_of, with_defaults
from toolchain.docker_plugin.tables import CONTAINER

from isthmus.errors import PlatformError
from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.bags.handler import Call, Checked, Created, Difference, Found, HalfMadeError
from isthmus.plugin.diffs import Change
from isthmus.plugin.handler import StoppedWaitingError
from isthmus.plugin.values import UNKNOWN

# Marks the container with the resource that it is, so that one whose making was cut short is found again.
URN_LABEL: Final = "dev.isthmus.pulumi-urn"
_COMPUTED: Final = ("bridge", "networkDatas")
_IN_PLACE: Final = frozenset({*container_config.UPDATABLE, "restart", "maxRetryCount"})
_SHOWN_CHARACTERS: Final = 300
_END_SECONDS: Final = 60
_START_INTERVAL: Final = "1.44"  # the engine's API version that knows it; an older one would ignore it without a word


class Container:
    """Blocking; each call is one resource."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check(self, call: Call, old_inputs: Bag, inputs: Bag) -> Checked:
        filled = with_defaults(CONTAINER, inputs, old_inputs, call, named=True)
        found = problems(CONTAINER, plain(filled.values))
        return Checked(filled, found or list(container_config.problems(plain(filled.values))))

    def diff(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Difference:
        found = [_honest(change) for change in changes(CONTAINER, old_inputs.values, inputs.values)]
        stopped = state.values.get("mustRun") is False and _ought_to_run(inputs.values)
        if stopped and not any(change.path == ("mustRun",) for change in found):
            found.append(Change(("mustRun",), "update", is_input=False))
        return Difference(found, deletes_before_replace=True)

    def preview(self, call: Call, id: str, state: Bag | None, old_inputs: Bag, inputs: Bag) -> Bag:
        known = {key: value for key, value in state.values.items() if key in _COMPUTED} if state else dict.fromkeys(_COMPUTED, UNKNOWN)
        return state_of(CONTAINER, inputs, known)

    def create(self, call: Call, inputs: Bag) -> Created:
        _guard(call, inputs)
        wanted = plain(inputs.values)
        what = f"container {wanted['name']}"
        config = self._config(wanted, what, call)
        with self._connection.client(f"{what}: creating it") as client:
            ensure(self._connection, client, wanted["image"], wanted.get("platform", ""), call)
            id = self._made(client, config, wanted, what, call.urn)
        try:
            self._furnish(id, wanted, what)
        except (PlatformError, OSError):
            self._remove(id, what, volumes=True)
            raise
        logs = self._run(call, id, wanted, inputs, creating=True) if wanted["start"] else None
        return Created(id, self._state(id, inputs, logs))

    def read(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> Found | None:
        if not old_inputs.values:
            raise self._connection.failure(f"container {id}", "the fall-back docker plugin can't import; let a program create it")
        try:
            with self._connection.client(f"container {old_inputs.values.get('name', id)}: reading it") as client:
                found = client.inspect_container(id)
        except NotFoundError:
            return None
        inputs = old_inputs.replaced(_drifted(old_inputs.values, found))
        logs = state.values.get("containerLogs")
        return Found(
            id, inputs, state_of(CONTAINER, inputs, {**container_state.outputs(found, plain(inputs.values)), "containerLogs": logs})
        )

    def update(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Bag:
        _guard(call, inputs)
        wanted = plain(inputs.values)
        what = f"container {wanted['name']}"
        if any(change.path[0] in _IN_PLACE for change in changes(CONTAINER, old_inputs.values, inputs.values)):
            with self._connection.client(f"{what}: updating it") as client:
                client.update_container(id, **container_config.update_options(wanted))
        logs = state.values.get("containerLogs")
        with self._connection.client(f"{what}: reading it") as client:
            running = client.inspect_container(id)["State"]["Running"]
        # One that is meant to run and does not was stopped by somebody, or never came up: this update is the next attempt.
        if _ought_to_run(wanted) and not running and not wanted["attach"]:
            logs = self._run(call, id, wanted, inputs, creating=False)
        return self._state(id, inputs, logs)

    def delete(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> None:
        wanted = plain({**old_inputs.values, **state.values})
        what = f"container {wanted.get('name', id)}"
        grace = wanted.get("destroyGraceSeconds") or 0
        if grace and not wanted.get("attach"):
            try:
                with self._connection.client(f"{what}: stopping it") as client:
                    client.stop(id, timeout=grace)
            except NotFoundError:
                return
        self._remove(id, what, volumes=wanted.get("removeVolumes", True))
        gone = call.wait_until(lambda: self._inspected(id) is None, _END_SECONDS, f"{what} is being removed")
        if not gone:
            raise self._connection.failure(what, f"it is still there {_END_SECONDS} s after its removal")

    def _config(self, wanted: Mapping[str, Any], what: str, call: Call) -> dict[str, Any]:
        with self._connection.client(f"{what}: creating it") as client:
            interval = wanted.get("healthcheck", {}).get("startInterval", "0s")
            if container_config.nanoseconds(interval) and version_lt(client.api_version, _START_INTERVAL):
                reason = f"healthcheck.startInterval needs an engine with API {_START_INTERVAL}; this one has {client.api_version}"
                raise self._connection.failure(what, reason)
        config = container_config.create_config(wanted)
        config["Labels"] = {**config.get("Labels", {}), URN_LABEL: call.urn}
        return config

    def _made(self, client: docker.APIClient, config: Mapping[str, Any], wanted: Mapping[str, Any], what: str, urn: str) -> str:
        def make() -> str:
            with self._connection.client(f"{what}: creating it") as again:
                return str(again.create_container_from_config(config, wanted["name"], wanted.get("platform") or None)["Id"])

        try:
            return make()
        except ConflictError:
            # The name is taken. By what an interrupted update of this very resource left: then nobody else knows of it.
            found = self._inspected(wanted["name"])
            if found is None or (found["Config"].get("Labels") or {}).get(URN_LABEL) != urn:
                raise
            self._remove(found["Id"], what, volumes=True)
            return make()

    def _furnish(self, id: str, wanted: Mapping[str, Any], what: str) -> None:
        """Networks and files, before the start."""
        ends = list(container_config.network_configs(wanted))
        if ends and wanted["networkMode"] == "bridge":
            with self._connection.client(f"{what}: leaving the network bridge") as client:
                client.disconnect_container_from_network(id, "bridge")
        for network, end in ends:
            with self._connection.client(f"{what}: joining the network {network}") as client:
                client.connect_container_to_network(id, network, **end)
        archive = container_config.upload_archive(wanted)
        if archive is not None:
            with self._connection.client(f"{what}: uploading its files") as client:
                client.put_archive(id, "/", archive)

    def _run(self, call: Call, id: str, wanted: Mapping[str, Any], inputs: Bag, *, creating: bool) -> str | None:
        """Starts it and waits as asked; returns its logs if they are to be kept. Raises HalfMadeError."""
        what = f"container {wanted['name']}"
        try:
            with self._connection.client(f"{what}: starting it") as client:
                client.start(id)
            if wanted["wait"]:
                self._await_health(call, id, what, wanted["waitTimeout"])
            return self._await_end(call, id, what, wanted) if wanted["attach"] else None
        except (PlatformError, StoppedWaitingError) as error:
            state = self._state(id, inputs, None, running=False)
            raise HalfMadeError([str(error)], state, inputs, id if creating else "") from error

    def _await_health(self, call: Call, id: str, what: str, timeout_seconds: float) -> None:
        last: Mapping[str, Any] = {}

        def healthy() -> bool:
            nonlocal last
            last = self._inspected(id) or {}
            if not last:
                raise self._connection.failure(what, "it vanished while it was waited for")
            if not last["State"]["Running"] and not last["State"]["Restarting"]:
                raise self._connection.failure(what, f"{container_state.reason_of_end(last)}{self._last_words(id)}")
            if "Health" not in last["State"] and last["State"]["Running"]:
                raise self._connection.failure(what, "wait is set, but neither the container nor its image has a healthcheck")
            return bool(last["State"].get("Health", {}).get("Status") == "healthy")

        if not call.wait_until(healthy, timeout_seconds, f"{what} starts up"):
            health = last["State"].get("Health", {})
            results = [_short(entry.get("Output", "")) for entry in health.get("Log") or ()]
            says = f"; its check says: {results[-1]}" if results and results[-1] else ""
            raise self._connection.failure(what, f"not healthy within {timeout_seconds} s ({health.get('Status', 'unknown')}){says}")

    def _await_end(self, call: Call, id: str, what: str, wanted: Mapping[str, Any]) -> str | None:
        def ended() -> bool:
            found = self._inspected(id)
            return found is None or not (found["State"]["Running"] or found["State"]["Restarting"])

        while not call.wait_until(ended, _END_SECONDS, f"{what} runs"):
            pass  # no limit of ours: attach means to its end
        if not wanted["logs"]:
            return None
        try:
            with self._connection.client(f"{what}: reading its logs") as client:
                return str(client.logs(id).decode(errors="replace"))
        except NotFoundError:
            return None  # rm: it is gone, with its logs

    def _state(self, id: str, inputs: Bag, logs: str | None, *, running: bool = True) -> Bag:
        """running: False where the start failed. As with the official plugin, mustRun is false in the state of one that ought to run."""
        found = self._inspected(id)
        wanted = plain(inputs.values)
        extra: dict[str, Any] = {"containerLogs": logs}
        if found is not None:
            extra |= container_state.outputs(found, wanted)
        if _ought_to_run(wanted) and (not running or found is None or not found["State"]["Running"]):
            extra["mustRun"] = False
        state = state_of(CONTAINER, inputs, extra)
        # What a container prints may be what it was told in secret.
        return Bag(state.values, state.secrets | {("containerLogs",)}) if inputs.secrets else state

    def _inspected(self, id: str) -> Mapping[str, Any] | None:
        try:
            with self._connection.client(f"container {id[:12]}: reading it") as client:
                found: Mapping[str, Any] = client.inspect_container(id)
                return found
        except NotFoundError:
            return None

    def _remove(self, id: str, what: str, *, volumes: bool) -> None:
        try:
            with self._connection.client(f"{what}: removing it") as client:
                client.remove_container(id, v=volumes, force=True)
        except NotFoundError:
            pass
        except ConflictError as error:
            if "already in progress" not in str(error):
                raise

    def _last_words(self, id: str) -> str:
        try:
            with self._connection.client("reading its logs") as client:
                lines: Sequence[str] = client.logs(id, tail=3).decode(errors="replace").splitlines()
        except PlatformError:
            return ""
        return f"; its last words: {_short(' / '.join(lines))}" if lines else ""


def _ought_to_run(inputs: Mapping[str, Any]) -> bool:
    return bool(inputs.get("mustRun") and inputs.get("start"))


def _guard(call: Call, inputs: Bag) -> None:
    """A secret variable comes as NAME=VALUE; a container that prints it prints the value alone."""
    call.secrets |= {value for text in inputs.secret_strings if (value := text.partition("=")[2])}


def _honest(change: Change) -> Change:
    """A limit can be changed in place, but not taken away: Docker reads zero as "leave it"."""
    limit = change.path[0] in container_config.UPDATABLE and change.kind == "delete"
    return Change(change.path, change.kind, change.replaces or limit, change.is_input)


def _drifted(inputs: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(inputs)
    for name, value in container_state.drifting(found).items():
        if value != (inputs.get(name) or type(value)()):
            changed[name] = value
    if _ought_to_run(inputs) and not found["State"]["Running"] and not found["State"]["Restarting"]:
        changed["mustRun"] = False
    return changed


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]} …"
