"""docker:index/volume:Volume."""

from collections.abc import Mapping
from typing import Any, Final

from toolchain.docker_plugin.connection import ConflictError, Connection, NotFoundError
from toolchain.docker_plugin.inputs import changes, plain, problems, state_of, with_defaults
from toolchain.docker_plugin.tables import VOLUME

from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.bags.handler import Call, Checked, Created, Difference, Found
from isthmus.plugin.values import UNKNOWN

_RELEASE_SECONDS: Final = 30
_COMPUTED: Final = ("driver", "mountpoint")


class Volume:
    """Blocking; each call is one resource. Nothing of a volume can be changed in place."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Volumes that a create of this run found there: a replacement is made first, and its old one is deleted afterwards.
        self._taken_over: set[str] = set()

    def check(self, call: Call, old_inputs: Bag, inputs: Bag) -> Checked:
        filled = with_defaults(VOLUME, inputs, old_inputs, call, named=True)
        return Checked(filled, problems(VOLUME, plain(filled.values)))

    def diff(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Difference:
        named = "name" not in (inputs.values.get("__defaults") or ())
        return Difference(changes(VOLUME, old_inputs.values, inputs.values), deletes_before_replace=named)

    def preview(self, call: Call, id: str, state: Bag | None, old_inputs: Bag, inputs: Bag) -> Bag:
        known = {name: state.values.get(name) if state else UNKNOWN for name in _COMPUTED if name not in inputs.values}
        return state_of(VOLUME, inputs, known)

    def create(self, call: Call, inputs: Bag) -> Created:
        wanted = plain(inputs.values)
        labels = {item["label"]: item["value"] for item in wanted.get("labels", ())}
        # As Docker has it: one that is there already with this name and driver is taken over.
        with self._connection.client(f"volume {wanted['name']}: creating it") as client:
            there = client.volumes(filters={"name": wanted["name"]}).get("Volumes") or []
            found = client.create_volume(wanted["name"], driver=wanted.get("driver"), driver_opts=wanted.get("driverOpts"), labels=labels)
        if (found.get("Labels") or {}) != labels:
            raise self._connection.failure(
                f"volume {wanted['name']}", "one with this name and other labels is there already; remove it, or name another"
            )
        if any(volume["Name"] == found["Name"] for volume in there):
            self._taken_over.add(found["Name"])
        return Created(found["Name"], state_of(VOLUME, inputs, _outputs(found, wanted)))

    def read(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> Found | None:
        try:
            with self._connection.client(f"volume {id}: reading it") as client:
                found = client.inspect_volume(id)
        except NotFoundError:
            return None
        inputs = old_inputs if old_inputs.values else Bag({"name": id, "__defaults": []})
        return Found(id, inputs, state_of(VOLUME, inputs, _outputs(found, plain(inputs.values))))

    def update(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Bag:
        with self._connection.client(f"volume {id}: reading it") as client:
            return state_of(VOLUME, inputs, _outputs(client.inspect_volume(id), plain(inputs.values)))

    def delete(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> None:
        if id in self._taken_over:
            self._taken_over.discard(id)
            return
        last: ConflictError | None = None

        def removed() -> bool:
            nonlocal last
            try:
                with self._connection.client(f"volume {id}: removing it") as client:
                    client.remove_volume(id, force=True)
            except NotFoundError:
                return True
            except ConflictError as error:
                last = error  # a container that is just being removed
                return False
            return True

        if not call.wait_until(removed, _RELEASE_SECONDS, f"volume {id} is still in use", interval_seconds=1) and last:
            raise last


def _outputs(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {"mountpoint": found.get("Mountpoint"), **({} if "driver" in wanted else {"driver": found.get("Driver")})}
