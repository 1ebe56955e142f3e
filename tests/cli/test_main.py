import json
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def isthmus(*args: str, cwd=None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "isthmus.cli.main", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


@pytest.fixture
def example(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 2, 1), np.float32))
    return str(tmp_path / "x.npy")


def test_no_command_waits_for_what_only_others_need():
    code = "import sys; import isthmus.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not set(done.stdout.split()) & {"rich", "numpy", "requests", "yaml", "pydantic", "filelock", "pulumi"}


def test_predict_names_the_class_and_how_sure_the_model_is(server, example, bodies):
    done = isthmus("predict", f"{server}/v1/models/m", "--input", example)
    assert done.returncode == 0, done.stderr
    assert "90.0%" in done.stdout
    assert np.shape(bodies[0]["instances"]) == (1, 2, 2, 1)


def test_predict_takes_a_bare_url_and_a_model(server, example):
    assert isthmus("predict", server, "--model", "m", "--input", example).returncode == 0


def test_predict_says_what_is_missing_in_a_bare_url(server, example):
    done = isthmus("predict", server, "--input", example)
    assert done.returncode == 1
    assert "--model: is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_model_is_the_servers_own_message(server, example):
    done = isthmus("predict", f"{server}/v1/models/other", "--input", example)
    assert done.returncode == 1
    assert "Servable not found" in done.stderr


def test_nobody_there_is_one_message(example):
    done = isthmus("predict", "http://127.0.0.1:1/v1/models/m", "--input", example)
    assert done.returncode == 1
    assert "nobody answered" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_pulumi_on_the_path_status_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = isthmus("status", "local")
    assert done.returncode == 1
    assert "no `pulumi` on PATH" in done.stderr


def test_status_of_a_stack_without_resources_says_what_to_do(tmp_path, monkeypatch):
    pulumi = tmp_path / "pulumi"
    pulumi.write_text(f"#!/bin/sh\necho '{json.dumps({'deployment': {'resources': []}})}'\n")
    pulumi.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    done = isthmus("status", "local")
    assert done.returncode == 1
    assert "has nothing deployed" in done.stderr
    assert "make up" in done.stderr


def test_brackets_in_a_message_are_shown_as_they_are(server, tmp_path):
    np.save(tmp_path / "[red].npy", np.ones((3, 3)))
    done = isthmus("predict", f"{server}/v1/models/m", "--input", str(tmp_path / "[red].npy"))
    assert "[red].npy" in done.stderr
