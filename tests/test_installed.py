"""What an installation without extras has: the plugin, the components, and a command that says what it lacks."""

import re
import subprocess
import sys
import textwrap
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

_PROJECT = Path(__file__).parents[1] / "components" / "pyproject.toml"
_WITHOUT_THE_REST = """
import importlib.abc, importlib.metadata as metadata, sys

class Without(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        its = PACKAGES.get(name.partition(".")[0])
        if its and not set(its) & ALLOWED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
"""


def _required(distribution: str, seen: set[str]) -> None:
    """Adds what an installation of this brings, without extras."""
    name = re.sub(r"[-_.]+", "-", distribution).lower()
    if name in seen:
        return
    seen.add(name)
    try:
        requirements = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    for requirement in requirements:
        if "extra ==" not in requirement:
            _required(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0], seen)


@pytest.fixture(scope="module")
def run_base() -> object:
    """Runs code where nothing can be imported but what the package's base dependencies bring."""
    allowed = {"isthmus", "isthmus-agent"}
    for requirement in tomllib.loads(_PROJECT.read_text())["project"]["dependencies"]:
        _required(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0], allowed)
    packages = {
        module: [re.sub(r"[-_.]+", "-", it).lower() for it in distributions]
        for module, distributions in metadata.packages_distributions().items()
    }
    prelude = f"ALLOWED = {allowed!r}\nPACKAGES = {packages!r}\n{_WITHOUT_THE_REST}"

    def run(code: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", prelude + textwrap.dedent(code)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_the_plugin_serves_its_schema_and_the_components_can_be_imported(run_base):
    done = run_base("""
        import asyncio, json
        import isthmus
        isthmus.HybridDeployment, isthmus.CloudModelService, isthmus.EdgeFleetRollout
        from isthmus.plugin.engine import Engine
        from isthmus.plugin.servicer import Servicer
        from isthmus.provider.main import HANDLERS, PACKAGE, version
        found = asyncio.run(Servicer(PACKAGE, version(), HANDLERS, Engine("")).GetSchema(None, None))
        print(sorted(json.loads(found.schema)["resources"])[0])
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "isthmus:index:Bucket"


def test_the_command_says_which_extra_it_needs(run_base):
    done = run_base("from isthmus.cli.start import main; main()")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "isthmus: error: the command needs typer, which is not installed. Fix: pip install 'isthmus[cli]'\n"


def test_the_engine_finds_the_plugin_by_its_name():
    scripts = tomllib.loads(_PROJECT.read_text())["project"]["scripts"]
    module, _, function = scripts["pulumi-resource-isthmus"].partition(":")
    process = subprocess.Popen([sys.executable, "-c", f"from {module} import {function}; {function}()"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 0
    finally:
        process.terminate()
        process.wait(10)
