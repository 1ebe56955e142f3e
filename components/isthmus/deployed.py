"""What a stack has, by the names that its user knows: its services and fleets, a hybrid's under the hybrid's name."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from isthmus.names import cloud_part, edge_part, token

_GROUPS: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    token("CloudModelService"): ("services", cloud_part),
    token("EdgeFleetRollout"): ("fleets", edge_part),
}
"""By type: what the components are together, and how a hybrid calls its part."""


def by_name(outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """`services` and `fleets`, name → outputs of the component. One without outputs is left out: it was never made.

    Args:
        outputs: of resources, by URN; those of other types are passed over.
    """
    found: dict[str, dict[str, Mapping[str, Any]]] = {group: {} for group, _ in _GROUPS.values()}
    for urn, its in outputs.items():
        _, types, name = urn.rsplit("::", 2)
        *above, kind = types.split("$")
        if kind in _GROUPS and its:
            group, part = _GROUPS[kind]
            hybrid = name.removesuffix(part(""))
            found[group][hybrid if above[-1:] == [token("HybridDeployment")] else name] = its
    return found
