"""The room that every plugin stands on knows nothing of what a plugin is for."""

import subprocess
import sys

GROUND = {"isthmus", "isthmus.errors", "isthmus.limits"}
CODE = """
import sys
import isthmus.plugin.process, isthmus.plugin.servicer, isthmus.plugin.bags.servicer, isthmus.plugin.bags.names
print(*sys.modules)
"""


def test_it_imports_the_ground_floor_and_itself_and_nothing_slow() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120, check=True)
    found = set(done.stdout.split())
    assert {name for name in found if name.partition(".")[0] == "isthmus" and not name.startswith("isthmus.plugin")} == GROUND
    assert not {name.partition(".")[0] for name in found} & {"numpy", "boto3", "pydantic", "docker", "kubernetes", "requests", "tensorflow"}
