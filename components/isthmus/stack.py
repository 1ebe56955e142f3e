"""A stack file's `services`, `fleets` and `hybrids`, each a mapping of name → arguments, made into components."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi import Output

from isthmus import cloud, compiling, edge, hybrid
from isthmus.arguments.fleet_file import load_fleet
from isthmus.errors import InputError, Problem
from isthmus.names import cloud_part, edge_part
from isthmus.sizing.asking import table
from isthmus.sizing.cost import price_table

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
    prices = _prices(config, problems)
    for section, check in CHECKS.items():
        found = config.get_object(section) or {}
        if not isinstance(found, Mapping):
            problems.append(Problem(section, f"found {type(found).__name__}", "a mapping of name to arguments"))
            continue
        found = {name: {**prices, **args} if isinstance(args, Mapping) else args for name, args in found.items()}
        declared[section] = found
        for name, args in found.items():
            problems += check(name, args, f"{section}.{name}")
    if not problems and not any(declared.values()):
        fix = "add one to the stack file, as in stacks/Pulumi.local.yaml"
        problems.append(Problem("config", "this stack declares nothing", "services, fleets or hybrids", fix))
    if problems := problems or _clashes(declared):
        raise compiling.run_error(problems)
    return declared


def _prices(config: pulumi.Config, problems: list[Problem]) -> dict[str, Any]:
    """The stack's price table as an argument for each component; nothing where it has none, or where it is wrong."""
    found = config.get_object("prices")
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        problems.append(Problem("prices", f"found {type(found).__name__}", "a price table, with as_of"))
        return {}
    try:
        price_table(found)
    except InputError as error:
        problems += error.problems
        return {}
    return {"prices": dict(found)}


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
    for part in {"hybrids": (cloud_part(name), edge_part(name))}.get(section, (name,)):
        yield "", "name", part
    for key in ("port", "grpc_port"):
        if port := (args.get("local") or {}).get(key):
            yield f".local.{key}", "port", int(port)
    if "fleet" in args:
        yield ".fleet", "fleet", load_fleet(args["fleet"], Path.cwd(), "").name


def outputs(made: Mapping[str, Mapping[str, pulumi.ComponentResource]]) -> dict[str, Any]:
    """The stack's outputs: `services` and `fleets` by name; a hybrid shows up in both."""
    services = {name: _outputs(it, cloud.OUTPUTS) for name, it in made["services"].items()}
    fleets = {name: _outputs(it, hybrid.FLEET_OUTPUTS) for name, it in made["fleets"].items()}
    for name, it in made["hybrids"].items():
        services[name], fleets[name] = it.cloud, it.edge  # type: ignore[attr-defined]
    return {"services": services, "fleets": fleets}


def show_plan(made: Mapping[str, Mapping[str, pulumi.ComponentResource]]) -> None:
    """Logs one table of all plans when the last of them is known, with what changes against the stack as it is deployed.

    The stack's outputs of its last update tell what is deployed: a stack reference to the stack itself reads them.
    """
    services: dict[str, Any] = dict(made["services"])
    fleets: dict[str, Any] = dict(made["fleets"])
    for name, it in made["hybrids"].items():
        services[name], fleets[name] = it.parts  # type: ignore[attr-defined]
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    deployed = pulumi.StackReference(name).outputs
    planned = [{key: {"digest": it.digest, "plan": it.plan} for key, it in part.items()} for part in (services, fleets)]

    def log(known: list[Any]) -> None:
        before = table.rows_of(known[2].get("services") or {}, known[2].get("fleets") or {})
        pulumi.log.info(f"the plan\n{table.as_text(table.against(table.rows_of(known[0], known[1]), before))}")

    Output.all(*planned, deployed).apply(log)


def _outputs(component: pulumi.ComponentResource, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: getattr(component, key) for key in keys}
