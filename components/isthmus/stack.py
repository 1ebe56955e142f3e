"""A stack file's `services`, `fleets` and `hybrids`, each a mapping of name → arguments, made into components."""

from collections.abc import Callable, Mapping
from typing import Any

import pulumi

from isthmus import cloud, compiling, edge, hybrid
from isthmus.errors import Problem

CHECKS: dict[str, Callable[[str, object, str], list[Problem]]] = {
    "services": lambda name, args, path: cloud.check(name, args, path)[1],
    "fleets": lambda name, args, path: edge.check(name, args, path)[2],
    "hybrids": hybrid.check,
}
COMPONENTS: dict[str, Callable[[str, Any], pulumi.ComponentResource]] = {
    "services": cloud.CloudModelService,
    "fleets": edge.EdgeFleetRollout,
    "hybrids": hybrid.HybridDeployment,
}


def read(config: pulumi.Config) -> dict[str, dict[str, Any]]:
    """What the stack file declares, all of it checked before the first component is made.

    Raises:
        pulumi.RunError: with every problem of every component.
    """
    declared: dict[str, dict[str, Any]] = {}
    problems: list[Problem] = []
    for section, check in CHECKS.items():
        found = config.get_object(section) or {}
        if not isinstance(found, Mapping):
            problems.append(Problem(section, f"found {type(found).__name__}", "a mapping of name to arguments"))
            continue
        declared[section] = dict(found)
        for name, args in found.items():
            problems += check(name, args, f"{section}.{name}")
    if not problems and not any(declared.values()):
        fix = "add one to the stack file, as in stacks/Pulumi.local.yaml"
        problems.append(Problem("config", "this stack declares nothing", "services, fleets or hybrids", fix))
    if problems:
        raise compiling.run_error(problems)
    return declared


def outputs(made: Mapping[str, Mapping[str, pulumi.ComponentResource]]) -> dict[str, Any]:
    """The stack's outputs: `services` and `fleets` by name; a hybrid shows up in both."""
    services = {name: _outputs(it, hybrid.SERVICE_OUTPUTS) for name, it in made["services"].items()}
    fleets = {name: _outputs(it, hybrid.FLEET_OUTPUTS) for name, it in made["fleets"].items()}
    for name, it in made["hybrids"].items():
        services[name], fleets[name] = it.cloud, it.edge  # type: ignore[attr-defined]
    return {"services": services, "fleets": fleets}


def _outputs(component: pulumi.ComponentResource, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: getattr(component, key) for key in keys}
