"""A quick run: what it leaves out, refuses and names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3]
FILES = {
    "conftest.py": """
        from toolchain.testing import plugin
        pytest_plugins = ("toolchain.testing.plugin",)
        plugin.MUCH_LONGER_SECONDS = 0.3
    """,
    "test_whole.py": """
        import pytest
        pytestmark = pytest.mark.slow
        raise RuntimeError("imported")
    """,
    "test_mixed.py": """
        import time
        import pytest
        def test_a_quick_one(): pass
        @pytest.mark.slow
        def test_a_slow_one(): pass
        def test_one_that_imports_it(): import tensorflow
        def test_one_that_computes():
            end = time.process_time() + 0.4
            while time.process_time() < end: pass
    """,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text("\n".join(line[8:] for line in text.splitlines()))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  slow: s\n  e2e: e\n")
    return tmp_path


def run(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *options]
    environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("options", [("--quick",), ("--quick", "--numprocesses=1")], ids=["alone", "in another process"])
def test_a_quick_run_leaves_out_refuses_and_names_what_is_slow(folder: Path, options: tuple[str, ...]) -> None:
    found = run(folder, *options)
    assert "1 failed, 2 passed" in found
    assert "a quick test imports TensorFlow. Fix: mark it `slow`" in found
    (named,) = [line for line in found.splitlines() if line.startswith("not quick, mark it slow: ")]
    assert named.endswith("test_mixed.py::test_one_that_computes")
    assert "test_a_slow_one" not in found


def test_any_other_run_imports_every_file(folder: Path) -> None:
    assert "RuntimeError: imported" in run(folder)
