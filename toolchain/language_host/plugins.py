"""Which Pulumi plugins the installed Python packages need: the rules of `pulumi-plugin.json`, as pure functions."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from toolchain.language_host.protocol import language, plugin

# These have no plugin, and say so nowhere.
WITHOUT_PLUGIN = frozenset({"pulumi-policy", "pulumi-esc-sdk"})

_VERSION = re.compile(r"(?P<release>\d+(?:\.\d+)*)(?:(?P<pre>a|b|rc)(?P<number>\d*))?(?:\.post(?P<post>\d+))?(?:\.dev(?P<dev>\d+))?")
_PRE = {"a": "alpha", "b": "beta", "rc": "rc"}


def plugin_version(package_version: str) -> str | None:
    """The plugin's semantic version for a Python package's: `1.0` → `1.0.0`, `1.2.3rc4` → `1.2.3-rc.4`; None if there is none."""
    match = _VERSION.fullmatch(package_version)
    if match is None:
        return None
    numbers = match["release"].split(".")
    version = ".".join(numbers + ["0"] * (3 - len(numbers)))
    if match["pre"]:
        version += f"-{_PRE[match['pre']]}.{match['number']}"
    build = "".join(f"{label}{match[label]}" for label in ("post", "dev") if match[label])
    return f"{version}+{build}" if build else version


def _parameterization(value: Mapping[str, Any] | None) -> Any:
    if not value:
        return None
    import base64

    return plugin.PackageParameterization(
        name=value.get("name", ""), version=value.get("version", ""), value=base64.b64decode(value.get("value") or "")
    )


def required(packages: Iterable[Mapping[str, Any]]) -> list[Any]:
    """`PackageDependency` messages for the entries of `packages.listing`.

    A package counts when it has a `pulumi-plugin.json` whose `resource` is true, or none and a name that starts with
    `pulumi-`. Name and version come from that file, else from the package; without a usable version it is left out.
    """
    found = []
    for package in packages:
        content = package["plugin"]
        if package["name"] in WITHOUT_PLUGIN or (content is None and not package["name"].startswith("pulumi-")):
            continue
        content = content if content is not None else {"resource": True}
        version = content.get("version") or plugin_version(package["version"])
        if not content.get("resource") or not version:
            continue
        found.append(
            plugin.PackageDependency(
                name=content.get("name") or package["name"].removeprefix("pulumi-"),
                kind="resource",
                version=version if version.startswith("v") else f"v{version}",
                server=content.get("server") or "",
                parameterization=_parameterization(content.get("parameterization")),
                extension=_parameterization(content.get("extensionParameterization")),
            )
        )
    return found


def response(packages: Iterable[Mapping[str, Any]]) -> Any:
    """The answer to GetRequiredPackages."""
    return language.GetRequiredPackagesResponse(packages=required(packages))
