"""A stack file's `services`, `fleets` and `hybrids`, each a mapping of name → arguments, made into components."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi import Output

from isthmus import cloud, compiling, edge, hybrid
from isthmus.arguments.components import CloudSettings, EdgeSettings, HybridSettings
from isthmus.arguments.secrets import at, in_plain
from isthmus.arguments.source import SourceSettings
from isthmus.cloud import CheckedService
from isthmus.compiling import Sources
from isthmus.deployed import by_name
from isthmus.edge import CheckedRollout
from isthmus.errors import InputError, Problem, property_path
from isthmus.hybrid import CheckedHybrid
from isthmus.names import cloud_part, edge_part
from isthmus.platforms.local.settings import LocalSettings
from isthmus.platforms.rules import with_platforms
from isthmus.sizing.asking import table
from isthmus.sizing.cost import price_table

Checked = CheckedService | CheckedRollout | CheckedHybrid
Declared = dict[str, dict[str, Checked]]


@dataclass(frozen=True)
class Section:
    """A section of the stack file: how its components are checked, and made of what was checked."""

    settings: type[SourceSettings]
    check: Callable[[str, object, str, Sources], tuple[Any, list[Problem]]]
    component: Callable[..., pulumi.ComponentResource]


SECTIONS: Mapping[str, Section] = {
    "services": Section(CloudSettings, cloud.check, cloud.CloudModelService),
    "fleets": Section(EdgeSettings, edge.check, edge.EdgeFleetRollout),
    "hybrids": Section(HybridSettings, hybrid.check, hybrid.HybridDeployment),
}


def read(config: pulumi.Config) -> Declared:
    """What the stack file declares by section and name, all of it checked before the first component is made.

    Raises:
        pulumi.RunError: with every problem of every component.
    """
    declared: Declared = {}
    problems: list[Problem] = []
    prices, sources = _prices(config, problems), Sources()
    for title, section in SECTIONS.items():
        found = config.get_object(title) or {}
        if not isinstance(found, Mapping):
            problems.append(Problem(title, f"found {type(found).__name__}", "a mapping of name to arguments"))
            continue
        declared[title] = {}
        for name, args in found.items():
            whole = {**prices, **args} if isinstance(args, Mapping) else args
            declared[title][name], wrong = section.check(name, whole, property_path((title, str(name))), sources)
            problems += wrong
    if not problems and not any(declared.values()):
        fix = "add one to the stack file, as in stacks/Pulumi.local.yaml"
        problems.append(Problem("config", "this stack declares nothing", "services, fleets or hybrids", fix))
    if problems := problems or _clashes(declared):
        raise compiling.run_error(problems)
    if plain := list(_plain_secrets(config)):
        pulumi.log.warn(_plain_warning(plain))
    return declared


def _plain_secrets(config: pulumi.Config) -> Iterator[str]:
    """The configuration paths of secrets that are not encrypted in the stack's file.

    A section with anything encrypted in it comes decrypted as a whole: then the file tells, as far as it says what is in use.
    """
    written: Mapping[str, Any] | None = None
    for title, section in SECTIONS.items():
        key = config.full_key(title)
        found = config.get_object(title)
        source: object = found
        if pulumi.runtime.config.is_config_secret(key):
            written = _stack_file() if written is None else written
            source = written.get(key)
        for name, args in source.items() if isinstance(source, Mapping) else ():
            for path, text in in_plain(with_platforms(section.settings), args, (str(name),)):
                if at(found, path) == text:
                    yield f"{config.name}:{property_path((title, *path))}"


def _stack_file() -> Mapping[str, Any]:
    """The configuration in the stack's own file; empty where there is none that can be read."""
    root = Path(pulumi.get_root_directory())
    try:
        project = yaml.safe_load((root / "Pulumi.yaml").read_text(encoding="utf-8"))
        file = root / str(project.get("stackConfigDir") or "") / f"Pulumi.{pulumi.get_stack()}.yaml"
        found = yaml.safe_load(file.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _plain_warning(paths: Sequence[str]) -> str:
    lines = "\n".join(f"  pulumi config set --secret --path '{path}'" for path in paths)
    one = len(paths) == 1
    return (
        f"{'a secret stands' if one else f'{len(paths)} secrets stand'} in plain in the stack's configuration, for everybody who can read "
        f"the file. Encrypt {'it' if one else 'them'} (the value is asked for), and change what others may have seen:\n{lines}"
    )


def make(declared: Declared) -> dict[str, dict[str, pulumi.ComponentResource]]:
    """The components, by section and name."""
    return {
        title: {name: section.component(name, {}, checked=checked) for name, checked in declared[title].items()}
        for title, section in SECTIONS.items()
    }


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


def _clashes(declared: Declared) -> list[Problem]:
    """What two components of the stack cannot both have. The arguments are sound by themselves."""
    taken: dict[tuple[str, object], str] = {}
    problems = []
    for section, components in declared.items():
        for name, checked in components.items():
            for key, kind, value in _claims(name, checked):
                path = property_path((section, name)) + key
                other = taken.setdefault((kind, value), path)
                if other != path:
                    problems.append(Problem(path, f"{kind} {value!r} is {other}'s already", f"another {kind}"))
    return problems


def _claims(name: str, checked: Checked) -> Iterator[tuple[str, str, object]]:
    """What a component needs for itself: the argument, the kind of thing, and which one."""
    if isinstance(checked, CheckedHybrid):
        for part, half in ((cloud_part(name), checked.cloud), (edge_part(name), checked.edge)):
            yield from _claims(part, half) if half else ()
        return
    yield "", "name", name
    own = checked.settings.section(LocalSettings)
    for key in ("port", "grpc_port"):
        if port := getattr(own, key):
            yield f".local.{key}", "port", port
    if isinstance(checked, CheckedRollout):
        yield ".fleet", "fleet", checked.fleet.name


def outputs(made: Mapping[str, Mapping[str, pulumi.ComponentResource]]) -> dict[str, Any]:
    """The stack's outputs: `services` and `fleets` by name; a hybrid shows up where it has a part."""
    services = {name: _outputs(it, cloud.OUTPUTS) for name, it in made["services"].items()}
    fleets = {name: _outputs(it, edge.OUTPUTS) for name, it in made["fleets"].items()}
    for name, it in made["hybrids"].items():
        service, fleet = it.parts  # type: ignore[attr-defined]
        services |= {name: it.cloud} if service else {}  # type: ignore[attr-defined]
        fleets |= {name: it.edge} if fleet else {}  # type: ignore[attr-defined]
    return {"services": services, "fleets": fleets}


def show_plan(made: Mapping[str, Mapping[str, pulumi.ComponentResource]]) -> None:
    """Logs one table of all plans when the last of them is known; at preview with what changes against the stack as it is deployed."""
    services: dict[str, Any] = dict(made["services"])
    fleets: dict[str, Any] = dict(made["fleets"])
    for name, it in made["hybrids"].items():
        service, fleet = it.parts  # type: ignore[attr-defined]
        services |= {name: service} if service else {}
        fleets |= {name: fleet} if fleet else {}
    planned = [{key: {"digest": it.digest, "plan": it.plan} for key, it in part.items()} for part in (services, fleets)]

    def log(known: list[Any]) -> None:
        rows, before = table.rows_of(known[0], known[1]), known[2]
        pulumi.log.info(f"the plan\n{table.as_text(table.against(rows, None if before is None else table.rows_of(**by_name(before))))}")

    Output.all(*planned, _deployed() if pulumi.runtime.is_dry_run() else None).apply(log)


def _deployed() -> Output[Mapping[str, Mapping[str, Any]]]:
    """The outputs of what the stack has, by URN.

    The engine itself reads them, and nothing of that gets into the state. Only a preview may ask: an update writes what would be read.
    """
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    found = pulumi.runtime.invoke_output("pulumi:pulumi:readStackResourceOutputs", {"stackName": name})
    return found.apply(lambda it: {urn: resource.get("outputs") or {} for urn, resource in ((it or {}).get("outputs") or {}).items()})


def _outputs(component: pulumi.ComponentResource, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: getattr(component, key) for key in keys}
