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
BUNDLE = {
    "store": STORE,
    "bucket": "b",
    "prefix": "p/",
    "digest": "d",
    "cache_directory": "/c",
    "private_key": "k",
    "check_at_preview": False,
}
ROLLOUT = {
    "store": STORE,
    "bucket": "b",
    "prefix": "p/",
    "fleet": "f",
    "devices": ["a", "b"],
    "digest": "d",
    "private_key": "k",
    "deadline_seconds": 9,
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
    ("SignedBundle", BUNDLE, {"digest": "e"}, {"digest": REPLACE}),
    ("SignedBundle", BUNDLE, {"private_key": "l"}, {"private_key": UPDATE}),
    ("SignedBundle", BUNDLE, {"cache_directory": "/d", "check_at_preview": True}, {}),
    ("Rollout", ROLLOUT, {"digest": "e"}, {"digest": UPDATE}),
    ("Rollout", ROLLOUT, {"fleet": "g"}, {"fleet": REPLACE}),
    ("Rollout", ROLLOUT, {"deadline_seconds": 99}, {}),
]


@pytest.mark.parametrize(("kind", "old", "change", "expected"), CASES)
def test_a_change_is_an_update_or_a_replacement(kind: str, old: dict[str, Any], change: dict[str, Any], expected: dict[str, str]) -> None:
    handler = HANDLERS[f"isthmus:index:{kind}"]
    state = {**old, "confirmed": old.get("devices", [])}
    changes = handler.diff(state, old, {**old, **change})
    assert {property_path(c.path): REPLACE if c.replaces else c.kind for c in changes} == expected


def test_a_device_that_lost_the_release_is_rolled_out_to_again() -> None:
    handler = HANDLERS["isthmus:index:Rollout"]
    changes = handler.diff({**ROLLOUT, "confirmed": ["a"]}, ROLLOUT, ROLLOUT)
    assert [(change.path, change.replaces, change.is_input) for change in changes] == [(("confirmed",), False, False)]


@pytest.mark.parametrize(("ports", "expected"), [({"http": 0}, False), ({"http": 8080}, True), (UNKNOWN, False)])
def test_only_a_fixed_port_makes_the_old_processes_go_first(ports: Any, expected: bool) -> None:
    handler = HANDLERS["isthmus:index:LocalProcesses"]
    assert handler.deletes_before_replace(PROCESSES, {**PROCESSES, "program": "q", "ports": ports}) is expected
