"""The embedded server against the recorded replies of TensorFlow Serving."""

import http.client
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RECORDINGS = [json.loads(line) for line in (Path(__file__).parent / "data" / "replies.jsonl").read_text().splitlines()]


def parsed(text: str):
    return json.loads(text, parse_constant=str)  # NaN equals nothing, its name does


def differences(recorded: dict, status: int, content_type: str, reply: str) -> list[str]:
    """What differs from the recorded reply in a way that a client could meet."""
    found = []
    if status != recorded["status"]:
        found.append(f"status {status}, recorded {recorded['status']}")
    if content_type != recorded["content_type"]:
        found.append(f"content type {content_type}, recorded {recorded['content_type']}")
    theirs = recorded["reply"]
    if recorded["status"] == 200:
        if parsed(reply) != parsed(theirs):
            found.append(f"reply {reply}, recorded {theirs}")
    elif theirs.startswith("{"):
        error, recorded_error = json.loads(reply)["error"], json.loads(theirs)["error"]
        if "JSON Parse error" in recorded_error:
            same = error.startswith("JSON Parse error")
        else:  # a kernel's text names the nodes of one build
            same = bool(error) if "{{node" in recorded_error else error == recorded_error
        if not same:
            found.append(f"error {error!r}, recorded {recorded_error!r}")
    elif theirs and reply != theirs:
        found.append(f"reply {reply!r}, recorded {theirs!r}")
    return found


def test_there_are_129_recordings():
    assert len(RECORDINGS) == 129


@pytest.mark.parametrize("recorded", RECORDINGS, ids=lambda r: f"{r['id']}-{r['section']}")
def test_the_reply_is_the_recorded_one(server, recorded):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.request(recorded["method"], recorded["path"], body=recorded["body"].encode() or None, headers=recorded["headers"])
    response = connection.getresponse()
    reply = response.read().decode()
    connection.close()
    assert differences(recorded, response.status, response.getheader("Content-Type"), reply) == []


@pytest.mark.parametrize(
    ("status", "content_type", "reply"),
    [
        (500, "application/json", '{"predictions": [[22.5, 27.5]]}'),
        (200, "text/plain", '{"predictions": [[22.5, 27.5]]}'),
        (200, "application/json", '{"predictions": [[22.5, 27.6]]}'),
    ],
)
def test_the_comparison_notices_a_different_reply(status, content_type, reply):
    recorded = next(r for r in RECORDINGS if r["body"] == '{"instances":[[1,2,3]]}' and r["status"] == 200)
    assert differences(recorded, 200, "application/json", '{"predictions": [[22.5, 27.5]]}') == []
    assert differences(recorded, status, content_type, reply) != []
