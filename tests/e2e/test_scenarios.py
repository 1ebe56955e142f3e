"""A scenario from its stack file to answers, with and without the cloud role. The tests of this file run in order, on one stack."""

import json

import numpy as np
import pytest
import requests
import yaml

from isthmus.provider.local.ports import choose

pytestmark = [pytest.mark.e2e, pytest.mark.in_order, pytest.mark.timeout(600)]

STACK_FILE = "stacks/Pulumi.offline-voice-assistant.yaml"
CLIPS = 60
"""Of the held-out ones: some 11 of them are doubtful."""


@pytest.fixture(scope="module")
def stack(make_project):
    """The scenario as its file describes it, but for ports that others may have."""
    made = make_project()
    with open(STACK_FILE, encoding="utf-8") as file:
        sections = {key.removeprefix("models:"): content for key, content in yaml.safe_load(file)["config"].items()}
    made.arguments = sections["hybrids"]["commands"]
    made.arguments["local"] = {"port": choose(()), "grpc_port": choose(())}
    made.configure(**sections)
    return made


@pytest.fixture(scope="module")
def clips():
    with np.load("models/commands/evaluation.npz") as data:
        return data["x"][:CLIPS]


def who(stack, clips) -> list[str]:
    """Who answers each clip, asked at an appliance."""
    endpoint = stack.outputs()["fleets"]["commands"]["devices"]["kettle"]
    found = []
    for clip in clips:
        body = json.dumps({"instances": [clip.tolist()]})
        reply = requests.post(f"{endpoint}/v1/models/commands:predict", data=body, timeout=30)
        assert reply.status_code == 200, reply.text
        assert np.asarray(reply.json()["predictions"]).shape == (1, 10)
        found.append(reply.headers["X-Isthmus-Answered-By"])
    return found


def test_up_makes_the_mode_that_the_advisor_says_and_shows_why(stack):
    done = stack.up("--skip-preview")
    assert done.code == 0, done
    assert "mode hybrid; the advisor says hybrid" in done.text, done
    assert "not cloud (availability): offline 10 % of the time" in done.text, done
    assert "not edge (unsure answers): the edge variant is unsure of 19.1 %" in done.text, done
    fleet = stack.outputs()["fleets"]["commands"]
    assert [(wave["outcome"], wave["confirmed"]) for wave in fleet["waves"]] == [("passed", 1), ("passed", 2)]


def test_appliances_answer_all_commands_by_themselves_while_the_cloud_role_is_away(stack, clips, supervisorctl, eventually):
    with_cloud = who(stack, clips)
    doubtful = [clip for clip, answered in zip(clips, with_cloud, strict=True) if answered == "cloud"]
    assert 0 < len(doubtful) < CLIPS / 2
    directory = stack.root / ".isthmus" / "test"
    gateway = next(name for name in supervisorctl(directory, "status").split() if name.startswith("commands-cloud-gateway"))
    supervisorctl(directory, "stop", gateway)
    assert who(stack, clips) == ["device"] * CLIPS
    supervisorctl(directory, "start", gateway)
    eventually(lambda: who(stack, doubtful) == ["cloud"] * len(doubtful))
