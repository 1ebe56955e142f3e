"""Metadata is read by a process of its own: it answers as this one would, and its end is nobody else's."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fleet_sayings import FLEET, path_of
from tests.fleet_store import Reply, Served
from tests.isthmus_agent.manager.conftest import BUNDLE
from tests.repository.devices import PREFIX

from isthmus.repository.keyring import Keyring
from isthmus_agent.formats.report import Reason
from isthmus_agent.manager import metadata, refreshing
from isthmus_agent.manager.failures import DeviceFailure, TransportFailure, UntrustedFailure
from isthmus_agent.manager.refreshing import Floor, Question, in_child, question_from
from isthmus_agent.manager.transport import Transport

pytestmark = pytest.mark.slow
PROGRAM = "import isthmus_agent.manager.program, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


@pytest.fixture
def question(http: Served, keyring: Keyring, tmp_path: Path) -> Question:
    root = keyring.root_at(1)
    assert root is not None
    return Question(tmp_path / "metadata", f"{http.url}{PREFIX}metadata/", FLEET, root)


def test_the_managers_process_knows_no_parser_of_signatures():
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tuf", "securesystemslib", "cryptography", "urllib3", "boto3", "numpy", "asyncio"} & set(found)


def test_a_process_of_its_own_finds_what_this_one_finds(question: Question):
    here = metadata.refreshed(replace(question, folder=question.folder.with_name("here")), Transport())
    assert in_child(question, Transport()) == here
    assert here.targets[path_of(BUNDLE)].length == len(BUNDLE)
    assert question_from(replace(question, timestamp=b"\x00{").to_text()) == replace(question, timestamp=b"\x00{")


def test_what_lies_in_the_folder_where_a_command_was_started_is_no_part_of_the_program(
    question: Question, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "json.py").write_text("raise SystemExit('run by somebody else')")
    monkeypatch.chdir(tmp_path)
    assert in_child(question, Transport()).assignment is not None


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (Reply(503), TransportFailure, Reason.REFUSED_BY_STORE),
        (Reply(200, b"<html>"), TransportFailure, Reason.NOT_THE_STORE),
        (Reply(200, b"{", endless=True), TransportFailure, Reason.ODD_ANSWER),
        (Reply(200, b"{" + b"[" * 10_000), TransportFailure, Reason.ODD_ANSWER),
    ],
)
def test_a_failure_has_its_class_and_its_reason(http: Served, question: Question, reply: Reply, kind: type, reason: Reason):
    http.fault = lambda path, headers: reply if path.endswith("timestamp.json") else None
    with pytest.raises(kind) as caught:
        in_child(question, Transport())
    assert caught.value.reason is reason


def test_what_is_not_trusted_and_what_cannot_be_kept_are_told_apart(question: Question, tmp_path: Path):
    with pytest.raises(UntrustedFailure):
        in_child(replace(question, floor=Floor(0, number=9)), Transport())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DeviceFailure):
        in_child(replace(question, folder=tmp_path / "file" / "metadata"), Transport())


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.abort()",
        "raise SystemExit(3)",
        "print('{')",
        "print('[]')",
        "print('{}')",
        "print('{\"found\": {}}')",
        'print(\'{"get": "http://127.0.0.1:1/elsewhere"}\', flush=True); input()',
        'print(\'{"failure": "print", "reason": 999999, "text": 1}\')',
        "import time; time.sleep(600)",
    ],
)
def test_whatever_becomes_of_the_process_is_a_failure_of_the_way(question: Question, monkeypatch: pytest.MonkeyPatch, program: str):
    real = subprocess.Popen
    started: list[Any] = []

    def other(arguments: list[str], **options: Any) -> Any:
        started.append(real([sys.executable, "-c", program], **options))
        return started[-1]

    monkeypatch.setattr(refreshing.subprocess, "Popen", other)
    monkeypatch.setattr(refreshing, "_MOST_SECONDS", 0.5 if "sleep" in program else 60.0)
    with pytest.raises(TransportFailure):
        in_child(question, Transport())
    assert started[0].poll() is not None


def test_a_machine_that_starts_no_process_is_the_devices_failure(question: Question, monkeypatch: pytest.MonkeyPatch):
    def none(*_: Any, **__: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(refreshing.subprocess, "Popen", none)
    with pytest.raises(DeviceFailure) as caught:
        in_child(question, Transport())
    assert caught.value.reason is Reason.OUT_OF_MEMORY


def test_a_network_that_fails_in_the_middle_ends_the_process_with_its_own_failure(http: Served, question: Question):
    http.fault = lambda path, headers: Reply(503) if "snapshot" in path else None
    with pytest.raises(TransportFailure):
        in_child(question, Transport())
