"""What a stack's state says, by a stand-in for the Pulumi CLI."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from isthmus.observing.stack_state import read_stack

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
ENDPOINT = "http://127.0.0.1:8333"


def resource(kind: str, name: str, outputs: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": kind, "urn": f"urn:pulumi:prod::p::{kind}::{name}", "outputs": outputs, **more}


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A `pulumi` that exports a stack with a fleet. The file that it answers with has the words that it was called with."""

    def make(store: Any, *more: Mapping[str, Any]) -> Path:
        resources = [
            resource("pulumi:pulumi:Stack", "p-prod", {}),
            resource("isthmus:index:EdgeFleetRollout", "x", {"devices": {}}),
            resource("isthmus:index:Rollout", "x", {"store": store}),
            *more,
        ]
        (tmp_path / "state.json").write_text(json.dumps({"deployment": {"resources": resources}}))
        program = tmp_path / "pulumi"
        program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\ncat {tmp_path}/state.json\n')
        program.chmod(0o700)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path / "words"

    return make


def test_secrets_that_are_asked_for_stand_as_themselves(pulumi: Callable[..., Path]):
    words = pulumi({"endpoint": ENDPOINT, "secret_key": {**SECRET, "plaintext": json.dumps("open sesame")}})
    state = read_stack("prod", show_secrets=True)
    assert state.resources["Rollout"]["x"]["store"] == {"endpoint": ENDPOINT, "secret_key": "open sesame"}
    assert "--show-secrets" in words.read_text()


def test_a_whole_value_that_is_a_secret_is_opened_with_the_secrets_in_it(pulumi: Callable[..., Path]):
    inner = {"endpoint": ENDPOINT, "keys": [{**SECRET, "plaintext": json.dumps("open sesame")}]}
    pulumi({**SECRET, "plaintext": json.dumps(inner)})
    assert read_stack("prod", show_secrets=True).resources["Rollout"]["x"]["store"] == {"endpoint": ENDPOINT, "keys": ["open sesame"]}


def test_secrets_that_nobody_asked_for_stay_closed(pulumi: Callable[..., Path]):
    sealed = {**SECRET, "ciphertext": "v1:abc"}
    words = pulumi({"endpoint": ENDPOINT, "secret_key": sealed})
    assert read_stack("prod").resources["Rollout"]["x"]["store"]["secret_key"] == sealed
    assert "--show-secrets" not in words.read_text()


def test_what_runs_is_read_from_the_components_whatever_the_program_exports(pulumi: Callable[..., Path]):
    service, fleet = "isthmus:index:CloudModelService", "isthmus:index:EdgeFleetRollout"
    pulumi(
        ENDPOINT,
        resource(service, "alone", {"endpoint": "http://a"}),
        resource(fleet, "doors", {"devices": {"one": "http://c"}}),
        resource(service, "failed", {}),
        resource(service, "leaving", {"endpoint": "http://e"}, delete=True),
    )
    state = read_stack()
    assert state.name == "prod"
    assert {name: it["endpoint"] for name, it in state.services().items()} == {
        "alone": "http://a",
    }
    assert set(state.fleets()) == {"x", "doors"}
