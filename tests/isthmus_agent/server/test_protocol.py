"""A device reads and writes TensorFlow Serving's wire format by the very code that the embedded server has."""

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
OURS = PROJECT / "agent" / "isthmus_agent" / "server" / "protocol"
THEIRS = PROJECT / "components" / "isthmus" / "protocol"
# isthmus may not be imported on a device: what it stands on there is another.
FOUNDATIONS = {
    "from isthmus.errors import IsthmusError\n": "",
    "(IsthmusError)": "(Exception)",
    "isthmus.release.manifest": "isthmus_agent.server.manifest",
    "isthmus.protocol": "isthmus_agent.server.protocol",
}


@pytest.mark.parametrize("name", sorted(file.name for file in OURS.glob("*.py")))
def test_the_two_copies_are_one(name):
    text = (THEIRS / name).read_text(encoding="utf-8")
    for theirs, ours in FOUNDATIONS.items():
        text = text.replace(theirs, ours)
    assert _statements((OURS / name).read_text(encoding="utf-8")) == _statements(text)


def _statements(text: str) -> list[str]:
    """Without comments, in an order that does not depend on how imports are sorted."""
    return sorted(ast.unparse(node) for node in ast.parse(text).body)
