"""A stack file's `services`, `fleets` and `hybrids`, each a mapping of name → arguments, made into components."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi

from isthmus import arguments, cloud, compiling, edge, hybrid
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
    if problems := problems or _clashes(declared):
        raise compiling.run_error(problems)
    return declared


def _clashes(declared: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """What two components of the stack cannot both have. The arguments are sound by themselves."""
    taken: dict[tuple[str, object], str] = {}
    problems = []
    for section, components in declared.items():
        for name, args in components.items():
            for key, kind, value in _claims(section, name, args):
                path = f"{section}.{name}{key}"
                other = taken.setdefault((kind, value), path)
                if other != path:
                    problems.append(Problem(path, f"{kind} {value!r} is {other}'s already", f"another {kind}"))
    return problems


def _claims(section: str, name: str, args: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
    """What a component needs for itself: the argument, the kind of thing, and which one."""
    for part in {"hybrids": (f"{name}-cloud", f"{name}-edge")}.get(section, (name,)):
        yield "", "name", part
    for key in ("port", "grpc_port"):
        if port := (args.get("local") or {}).get(key):
            yield f".local.{key}", "port", int(port)
    if "fleet" in args:
        yield ".fleet", "fleet", arguments.load_fleet(args["fleet"], Path.cwd(), "").name


def outputs(made: Mapping[str, Mapping[str, pulumi.ComponentResource]]) -> dict[str, Any]:
    """The stack's outputs: `services` and `fleets` by name; a hybrid shows up in both."""
    services = {name: _outputs(it, cloud.OUTPUTS) for name, it in made["services"].items()}
    fleets = {name: _outputs(it, hybrid.FLEET_OUTPUTS) for name, it in made["fleets"].items()}
    for name, it in made["hybrids"].items():
        services[name], fleets[name] = it.cloud, it.edge  # type: ignore[attr-defined]
    return {"services": services, "fleets": fleets}


def _outputs(component: pulumi.ComponentResource, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: getattr(component, key) for key in keys}
