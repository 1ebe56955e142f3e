"""One digest, whatever was compiled before in the same worker, in whatever folder and process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, hashlib, json, sys
from pathlib import Path
from isthmus.compile import CompileRequest, compile_release
from isthmus.compile.workers import pool
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import EDGE

base, cache, wanted = Path(sys.argv[1]), ReleaseCache(Path(sys.argv[2])), json.loads(sys.argv[3])
pool.default_workers = lambda: 1
started = []

class Counted(pool.WorkerProcess):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        started.append(self.process.pid)

pool.WorkerProcess = Counted

async def main():
    found = []
    for model, source, recipe in wanted:
        release = await compile_release(CompileRequest(model, source, recipe, base_directory=base), cache, lambda _: None)
        edge = release.manifest.variant(EDGE).files[0]
        found.append({"digest": release.digest, "edge": edge.sha256})
    return found

print(json.dumps({"releases": asyncio.run(main()), "workers": len(started)}))
"""


def _start(base: Path, cache: Path, wanted: list[tuple[str, str, str]]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, str(base), str(cache), json.dumps(wanted)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "components")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=base, env=environment)


def _result(process: "subprocess.Popen[str]") -> dict[str, Any]:
    output, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(output)
    return found


def test_a_used_worker_compiles_to_the_same_digest_as_a_new_one(sources: Path, tmp_path: Path) -> None:
    """Each model comes first in one process, and after the others, in the same worker, in another one in another folder."""
    here, there = tmp_path / "here", tmp_path / "there" / "deep"
    for folder in (here, there):
        shutil.copytree(PROJECT / "models" / "digits", folder / "digits")
        for name in ("two_inputs.keras", "single"):
            source = sources / name
            shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder / name)
    wanted = [("digits", "digits", "int8"), ("two", "two_inputs.keras", "float16"), ("single", "single", "float32")]
    first = _result(_start(here, tmp_path / "cache-1", wanted))
    second = _result(_start(there, tmp_path / "cache-2", wanted[::-1]))
    assert first["workers"] == second["workers"] == 1
    assert first["releases"] == second["releases"][::-1]


def test_what_a_models_code_leaves_behind_is_not_there_for_the_next(sources: Path, tmp_path: Path) -> None:
    """A function that counts its calls in its module, and takes its weights from whatever random state it finds."""
    folder = tmp_path / "base"
    (folder / "zoo").mkdir(parents=True)
    (folder / "zoo" / "models.py").write_text(
        "import keras\nimport numpy as np\ncalls = []\n\n\ndef build():\n    calls.append(1)\n    x = keras.Input((4,), name='x')\n"
        "    units = len(calls) + int(hasattr(np, 'left_behind'))\n    np.left_behind = True\n"
        "    return keras.Model(x, keras.layers.Dense(units, name='out')(x))\n"
    )
    wanted = [(name, "zoo.models:build", "float32") for name in ("first", "second")]
    found = _result(_start(folder, tmp_path / "cache", wanted))
    assert found["releases"][0]["edge"] == found["releases"][1]["edge"]
    assert found["workers"] > 1
