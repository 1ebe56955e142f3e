"""Lists the Python packages of the environment that runs it, as JSON on stdout. A script: it needs nothing but Python.

    python packages.py [--direct]

Each entry has `name` (normalised as PEP 503 says), `version`, and `plugin`: the content of the package's
`pulumi-plugin.json`, or null. With `--direct`, packages that another installed package requires are left out.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _name_and_version(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    """As its metadata says, which is not parsed as a whole: that is most of what a listing would take."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    fields = dict(re.findall(r"^(Name|Version):[ \t]*(\S+)", text.partition("\n\n")[0], re.MULTILINE))
    return fields.get("Name", ""), fields.get("Version", "")


def _plugin(module: str) -> Any:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or []) if spec else []:
        file = Path(place) / "pulumi-plugin.json"
        if file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))
    return None


def _requirement_class() -> Any:
    try:
        module = importlib.import_module("packaging.requirements")
    except ImportError:  # every environment made by `python -m venv` has pip, and with it a copy
        module = importlib.import_module("pip._vendor.packaging.requirements")
    return module.Requirement


def _required(distributions: list[importlib.metadata.Distribution]) -> set[str]:
    requirement_class = _requirement_class()
    names = set()
    for distribution in distributions:
        for line in distribution.requires or []:
            requirement = requirement_class(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                names.add(_normal(requirement.name))
    return names


def listing(*, direct: bool = False) -> list[dict[str, Any]]:
    """One entry for each installed package, sorted by name."""
    distributions = list(importlib.metadata.distributions())
    hidden = _required(distributions) if direct else set()
    found: dict[str, dict[str, Any]] = {}
    for distribution in distributions:
        raw, version = _name_and_version(distribution)
        name = _normal(raw)
        if name and name not in hidden and name not in found:  # the first one on the path is the one that imports
            found[name] = {"name": name, "version": version, "plugin": _plugin(raw.replace("-", "_"))}
    return [found[name] for name in sorted(found)]


if __name__ == "__main__":
    json.dump(listing(direct="--direct" in sys.argv[1:]), sys.stdout)
