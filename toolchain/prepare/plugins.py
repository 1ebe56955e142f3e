"""The fall-back plugins of this project, put where the engine that was built here finds them.

The official ones come by themselves with an official engine, which has the internet that they are on. A PULUMI_HOME of the
project's own holds ours, so that no other project ever meets them.
"""

import re
import subprocess
import tempfile
from pathlib import Path

from toolchain.prepare.layout import Layout
from toolchain.prepare.package import launcher, tarball
from toolchain.prepare.stack import variables
from toolchain.prepare.steps import PrepareError, Stamp, fingerprint, say

# Plugin → the package whose version it must have: a program asks for the plugin of its SDK's own version.
PLUGINS = {"docker": "pulumi-docker", "kubernetes": "pulumi-kubernetes"}


def version_of(layout: Layout, package: str) -> str:
    """The version that requirements.txt locks. Raises PrepareError where it locks none."""
    found = re.search(
        rf"^{re.escape(package)}==([^ \\;]+)", (layout.project / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    if found is None:
        raise PrepareError(f"requirements.txt locks no {package}. Fix: make lock")
    return found[1]


def prepare(layout: Layout, engine: str) -> None:
    """Installs each plugin, unless that very one is there.

    engine: path of the engine that was built here.

    Raises:
        PrepareError: the engine refused one.
    """
    for name, package in PLUGINS.items():
        version = version_of(layout, package)
        stamp, done = Stamp(layout.toolchain / f"plugin-{name}"), fingerprint(version, launcher(layout.project, name))
        if stamp.read() == done and _folder(layout, name, version).is_dir():
            continue
        say(f"installing the fall-back {name} plugin {version}")
        with tempfile.TemporaryDirectory(prefix="isthmus-plugin-") as folder:
            packed = tarball(layout.project, name, Path(folder) / f"{name}.tar.gz")
            command = [engine, "plugin", "install", "resource", name, f"v{version}", "--file", str(packed), "--reinstall"]
            result = subprocess.run(command, cwd=folder, env=variables(layout), capture_output=True, text=True, check=False)
        if result.returncode:
            raise PrepareError(f"installing the plugin {name} failed: {' '.join(result.stderr.split())}")
        stamp.write(done)


def _folder(layout: Layout, name: str, version: str) -> Path:
    return Path(variables(layout).get("PULUMI_HOME", layout.toolchain / "pulumi-home")) / "plugins" / f"resource-{name}-v{version}"
