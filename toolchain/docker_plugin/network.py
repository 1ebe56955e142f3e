"""docker:index/network:Network."""

from collections.abc import Mapping
from typing import Any, Final

from toolchain.docker_plugin.connection import Connection, NotFoundError
from toolchain.docker_plugin.inputs import changes, plain, problems, state_of, with_defaults
from toolchain.docker_plugin.tables import NETWORK

from isthmus.errors import PlatformError
from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.bags.handler import Call, Checked, Created, Difference, Found
from isthmus.plugin.values import UNKNOWN

_RELEASE_SECONDS: Final = 30
_IPAM: Final = {"subnet": "Subnet", "ipRange": "IPRange", "gateway": "Gateway", "auxAddress": "AuxiliaryAddresses"}
_COMPUTED: Final = ("driver", "internal", "ipamConfigs", "options", "scope")


class Network:
    """Blocking; each call is one resource. Nothing of a network can be changed in place."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check(self, call: Call, old_inputs: Bag, inputs: Bag) -> Checked:
        filled = with_defaults(NETWORK, inputs, old_inputs, call, named=True)
        return Checked(filled, problems(NETWORK, plain(filled.values)))

    def diff(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Difference:
        named = "name" not in (inputs.values.get("__defaults") or ())
        return Difference(changes(NETWORK, old_inputs.values, inputs.values), deletes_before_replace=named)

    def preview(self, call: Call, id: str, state: Bag | None, old_inputs: Bag, inputs: Bag) -> Bag:
        known = {name: state.values.get(name) if state else UNKNOWN for name in _COMPUTED if name not in inputs.values}
        return state_of(NETWORK, inputs, known)

    def create(self, call: Call, inputs: Bag) -> Created:
        wanted = plain(inputs.values)
        # Docker lets several networks share a name, and then refuses to connect anything by it.
        with self._connection.client(f"network {wanted['name']}: creating it") as client:
            id = client.create_network(
                wanted["name"],
                driver=wanted.get("driver"),
                options=wanted.get("options"),
                ipam=_ipam(wanted),
                check_duplicate=True,
                internal=bool(wanted.get("internal")),
                labels={item["label"]: item["value"] for item in wanted.get("labels", ())},
                enable_ipv6=bool(wanted.get("ipv6")),
                attachable=wanted.get("attachable"),
                ingress=wanted.get("ingress"),
            )["Id"]
        found = self._found(id)
        return Created(id, state_of(NETWORK, inputs, _outputs(found or {}, wanted)))

    def read(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> Found | None:
        if not old_inputs.values:
            raise self._connection.failure(f"network {id}", "the fall-back docker plugin can't import; let a program create it")
        found = self._found(id)
        if found is None:
            return None
        return Found(id, old_inputs, state_of(NETWORK, old_inputs, _outputs(found, plain(old_inputs.values))))

    def update(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Bag:
        return state_of(NETWORK, inputs, _outputs(self._found(id) or {}, plain(inputs.values)))

    def delete(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> None:
        name = state.values.get("name", id)
        last: PlatformError | None = None

        def removed() -> bool:
            nonlocal last
            try:
                with self._connection.client(f"network {name}: removing it") as client:
                    client.remove_network(id)
            except NotFoundError:
                return True
            except PlatformError as error:
                if "active endpoints" not in str(error):
                    raise
                last = error  # a container that is just being removed
                return False
            return True

        if not call.wait_until(removed, _RELEASE_SECONDS, f"network {name} is still in use", interval_seconds=1) and last:
            raise last

    def _found(self, id: str) -> Mapping[str, Any] | None:
        try:
            with self._connection.client(f"network {id[:12]}: reading it") as client:
                found: Mapping[str, Any] = client.inspect_network(id)
                return found
        except NotFoundError:
            return None


def _ipam(wanted: Mapping[str, Any]) -> dict[str, Any]:
    pools = [{theirs: item[name] for name, theirs in _IPAM.items() if item.get(name)} for item in wanted.get("ipamConfigs", ())]
    return {"Driver": wanted["ipamDriver"], "Config": pools, "Options": wanted.get("ipamOptions") or {}}


def _outputs(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    pools = (found.get("IPAM") or {}).get("Config") or []
    computed = {
        "driver": found.get("Driver"),
        "internal": found.get("Internal"),
        "options": found.get("Options") or {},
        "ipamConfigs": [{name: pool[theirs] for name, theirs in _IPAM.items() if pool.get(theirs)} for pool in pools],
    }
    return {**{name: value for name, value in computed.items() if name not in wanted}, "scope": found.get("Scope")}
