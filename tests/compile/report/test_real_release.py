"""The views of a release that the compiler made just now, through the command."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_a_real_release_has_a_table_and_a_page_without_a_complaint(
    digits_release: Any, project: Path, browser: Any, tmp_path: Path
) -> None:
    environment = {**os.environ, "ISTHMUS_CACHE_DIR": str(digits_release.cache.directory.parent), "COLUMNS": "160"}
    page = tmp_path / "report.html"
    words = ["compile", "models/digits", "--recipe", "int8", "--html", str(page)]
    command = [sys.executable, "-m", "isthmus.cli.main", *words]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60, check=False, cwd=project, env=environment)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert (data["release"], data["chosen"]) == (digits_release.release.digest, "int8")
    (row,) = data["variants"]
    assert row["accuracy"] > 0.98
    assert 0 < row["weight_error"] <= 1
    assert row["size_bytes"] == Path(data["file"]).stat().st_size
    assert row["peak_memory_bytes"] > 0

    browser.open(page, 400)
    assert browser.complaints == []
    assert browser.value("document.querySelectorAll('circle.dot').length") == 3
    assert browser.value("document.querySelectorAll('.matrix').length") == 2
    assert browser.value("document.querySelectorAll('.bar').length") == len(digits_release.release.record.candidates[0].layers)
    assert browser.value("document.documentElement.scrollWidth") == 400
