"""What each change of a resource leads to, as a table."""

from typing import Any

import pytest

from isthmus.errors import property_path
from isthmus.plugin.values import UNKNOWN
from isthmus.provider.registry import HANDLERS

STORE = {"endpoint": "http://127.0.0.1:1", "region": "r", "access_key": "a", "secret_key": "s"}
PROCESSES = {
    "supervisor": "/s",
    "program": "p",
    "command": ["x", "y"],
    "ports": {"http": 0},
    "replicas": 2,
    "environment": {},
    "files": {"a.json": "1"},
    "live_files": {},
    "ready": {},
    "leftovers": [],
}
PLACE = {"store": STORE, "bucket": "b", "prefix": "p/", "fleet": "f", "keys": "/k"}
REPOSITORY = {**PLACE, "make_keys": False, "owner": "o", "check_at_preview": False}
DEVICES = {**PLACE, "directory": "/d", "devices": [{"name": "a", "class": "default", "labels": {}}], "access": {}}
WAVE = {
    **PLACE,
    "releases": {"*": "d"},
    "cache_directory": "/c",
    "waves": [{"count": 1, "gate": {}}],
    "wave": 0,
    "probation": {},
    "wait": True,
}
FOLDER = {"digest": "d", "cache_directory": "/c", "directory": "/m"}

UPDATE, REPLACE = "update", "replace"
CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, str]]] = [
    ("LocalSupervisor", {"directory": "/a"}, {"directory": "/b"}, {"directory": REPLACE}),
    ("LocalProcesses", PROCESSES, {}, {}),
    ("LocalProcesses", PROCESSES, {"replicas": 3}, {"replicas": UPDATE}),
    ("LocalProcesses", PROCESSES, {"command": ["x", "z"]}, {"command[1]": UPDATE}),
    ("LocalProcesses", PROCESSES, {"command": ["x"]}, {"command": UPDATE}),
    ("LocalProcesses", PROCESSES, {"files": {"a.json": "2", "b": ""}}, {'files["a.json"]': UPDATE, "files.b": "add"}),
    ("LocalProcesses", PROCESSES, {"files": {}}, {'files["a.json"]': "delete"}),
    ("LocalProcesses", PROCESSES, {"program": "q"}, {"program": REPLACE}),
    ("LocalProcesses", PROCESSES, {"supervisor": UNKNOWN}, {"supervisor": REPLACE}),
    ("LocalProcesses", PROCESSES, {"live_files": UNKNOWN}, {"live_files": UPDATE}),
    ("ModelFolder", FOLDER, {"digest": "e"}, {"digest": UPDATE}),
    ("ModelFolder", FOLDER, {"directory": "/n"}, {"directory": REPLACE}),
    ("ModelFolder", FOLDER, {"cache_directory": "/d"}, {"content": UPDATE}),  # nothing lies there
    ("Bucket", {"store": STORE, "bucket": "b"}, {"bucket": "c"}, {"bucket": REPLACE}),
    ("Bucket", {"store": STORE, "bucket": "b"}, {"store": {**STORE, "secret_key": "t"}}, {"store.secret_key": UPDATE}),
    ("Bucket", {"store": STORE, "bucket": "b"}, {"store": {**STORE, "endpoint": "http://other"}}, {"store.endpoint": REPLACE}),
    *(
        ("Bucket", {"store": STORE, "bucket": "b"}, {"store": {**STORE, "endpoint": spelling}}, {})
        for spelling in ("http://localhost:1", "HTTP://127.0.0.1:1/", "http://LOCALHOST.:1/", "http://127.0.0.1:1")
    ),
    ("Bucket", {"store": STORE, "bucket": "b"}, {"store": {**STORE, "endpoint": "http://[::1]:1"}}, {"store.endpoint": REPLACE}),
    ("Bucket", {"store": STORE, "bucket": "b"}, {"store": {**STORE, "endpoint": UNKNOWN}}, {"store.endpoint": REPLACE}),
    ("LocalSupervisor", {"directory": "/a"}, {"directory": "/a/"}, {}),
    ("LocalProcesses", PROCESSES, {"supervisor": "/s/"}, {}),
    ("ModelFolder", FOLDER, {"directory": "/m/"}, {"content": UPDATE}),
    ("FleetRepository", REPOSITORY, {"prefix": "q/"}, {"prefix": REPLACE}),
    ("FleetRepository", REPOSITORY, {"fleet": "g"}, {"fleet": REPLACE}),
    ("FleetRepository", REPOSITORY, {"keys": "/l", "make_keys": True, "check_at_preview": True}, {}),
    ("LocalDevices", DEVICES, {"directory": "/e"}, {"directory": REPLACE}),
    ("LocalDevices", DEVICES, {"devices": []}, {"devices": UPDATE}),
    ("FleetWave", WAVE, {"releases": {"*": "e"}}, {'releases["*"]': UPDATE}),
    ("FleetWave", WAVE, {"fleet": "g"}, {"fleet": REPLACE}),
    ("FleetWave", WAVE, {"waves": [{"count": 2, "gate": {}}]}, {"waves[0].count": UPDATE}),
    ("FleetWave", WAVE, {"keys": "/l", "cache_directory": "/d", "wait": False}, {}),
]


@pytest.mark.parametrize(("kind", "old", "change", "expected"), CASES)
def test_a_change_is_an_update_or_a_replacement(kind: str, old: dict[str, Any], change: dict[str, Any], expected: dict[str, str]) -> None:
    handler = HANDLERS[f"isthmus:index:{kind}"]
    changes = handler.diff({**old, "outcome": "passed", "marks": {"a": ""}}, old, {**old, **change})
    assert {property_path(c.path): REPLACE if c.replaces else c.kind for c in changes} == expected


@pytest.mark.parametrize("outcome", ["open", "waiting", "paused", "aborted", "superseded"])
def test_a_wave_whose_gate_has_not_passed_is_gone_on_with(outcome: str) -> None:
    changes = HANDLERS["isthmus:index:FleetWave"].diff({**WAVE, "outcome": outcome}, WAVE, WAVE)
    assert [(change.path, change.replaces, change.is_input) for change in changes] == [(("outcome",), False, False)]


@pytest.mark.parametrize(("when", "expected"), [("2020-01-01T00:00:00+00:00", True), ("2999-01-01T00:00:00+00:00", False)])
def test_a_repository_is_signed_anew_in_time(when: str, *, expected: bool) -> None:
    changes = HANDLERS["isthmus:index:FleetRepository"].diff({**REPOSITORY, "sign_again_at": when}, REPOSITORY, REPOSITORY)
    assert [change.path for change in changes] == [("sign_again_at",)] * expected


def test_a_device_that_lost_what_it_was_enrolled_with_is_enrolled_again() -> None:
    changes = HANDLERS["isthmus:index:LocalDevices"].diff({**DEVICES, "marks": {"a": "before"}}, DEVICES, DEVICES)
    assert [change.path for change in changes] == [("marks",)]


@pytest.mark.parametrize(("ports", "expected"), [({"http": 0}, False), ({"http": 8080}, True), (UNKNOWN, False)])
def test_only_a_fixed_port_makes_the_old_processes_go_first(ports: Any, expected: bool) -> None:
    handler = HANDLERS["isthmus:index:LocalProcesses"]
    assert handler.deletes_before_replace(PROCESSES, {**PROCESSES, "program": "q", "ports": ports}) is expected
