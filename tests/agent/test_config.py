import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isthmus.agent import config as configuration
from isthmus.errors import InputError
from isthmus.release import signing

GOOD: dict[str, Any] = {
    "device": "camera-1",
    "fleet": "cameras",
    "model": "digits",
    "state_directory": "/var/lib/isthmus",
    "port": 8501,
    "store": {
        "endpoint": "http://127.0.0.1:8333/",
        "bucket": "models",
        "prefix": "cameras/",
        "access_key": "name",
        "secret_key": "hush-hush",
    },
    "public_key": signing.generate_key().public_pem,
    "poll_seconds": 1,
    "fallback": {"url": "http://127.0.0.1:8080/", "min_confidence": 0.6, "timeout_ms": 200},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agent.json"


def write(file: Path, document: object, mode: int = 0o600) -> Path:
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    file.chmod(mode)
    return file


def run_agent(file: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "isthmus.agent", "--config", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_good_file_is_read(file: Path) -> None:
    config = configuration.load(write(file, GOOD), {})
    assert config.bind_address == "127.0.0.1"
    assert config.store.address.region == "us-east-1"
    assert config.store.address.endpoint == "http://127.0.0.1:8333"
    assert config.fallback is not None
    assert config.fallback.url == "http://127.0.0.1:8080"
    assert "hush-hush" not in repr(config)


def test_credentials_may_come_from_the_environment(file: Path) -> None:
    store = {key: value for key, value in GOOD["store"].items() if not key.endswith("_key")}
    environment = {"AWS_ACCESS_KEY_ID": "from-here", "AWS_SECRET_ACCESS_KEY": "and-here"}
    address = configuration.load(write(file, {**GOOD, "store": store}), environment).store.address
    assert (address.access_key, address.secret_key) == ("from-here", "and-here")
    with pytest.raises(InputError, match="AWS_ACCESS_KEY_ID") as caught:
        configuration.load(file, {})
    assert "AWS_SECRET_ACCESS_KEY" in str(caught.value)


def test_all_that_is_wrong_is_said_at_once_and_no_secret_with_it(file: Path) -> None:
    wrong = {
        **GOOD,
        "device": "a/b",
        "state_directory": "here",
        "port": 70000,
        "public_key": "hush-hush",
        "poll_seconds": 0,
        "surprise": 1,
        "store": {**GOOD["store"], "endpoint": "http://hush-hush:hush-hush@host", "prefix": "no-slash", "secret_key": ["hush-hush"]},
        "fallback": {"url": "somewhere", "min_confidence": 2, "timeout_ms": 0},
    }
    with pytest.raises(InputError) as caught:
        configuration.load(write(file, wrong, 0o644), {})
    paths = {problem.path.removeprefix(f"{file}: ") for problem in caught.value.problems}
    fields = {"device", "state_directory", "port", "public_key", "poll_seconds", "surprise"}
    sections = {"store.endpoint", "store.prefix", "store.secret_key", "fallback.url", "fallback.min_confidence", "fallback.timeout_ms"}
    assert paths == {str(file)} | fields | sections
    assert "chmod 600" in str(caught.value)
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"secret_key": "hush-hush"', "\xff"])
def test_what_is_no_configuration_is_told(file: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        configuration.load(write(file, text), {})
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize("document", [None, {**GOOD, "port": "many"}])
def test_the_program_ends_with_a_message_and_no_traceback(file: Path, document: object) -> None:
    if document is not None:
        write(file, document)
    run = subprocess.run(
        [sys.executable, "-m", "isthmus.agent", "--config", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 2
    assert str(file) in run.stderr
    assert "Traceback" not in run.stderr


def test_a_port_in_use_is_one_message(file: Path, seaweedfs: Any, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        write(file, {**GOOD, "port": port, "state_directory": str(tmp_path / "state")})
        run = subprocess.run(
            [sys.executable, "-m", "isthmus.agent", "--config", str(file)], capture_output=True, text=True, timeout=60, check=False
        )
    assert run.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in run.stderr
    assert "Traceback" not in run.stderr
