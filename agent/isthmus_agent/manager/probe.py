"""Golden probes: a content's golden vectors, asked for through the socket that it serves on, as any client would.

It runs as a process of its own (`python -m isthmus_agent.manager.probe QUESTION`), which prints whether they passed: golden vectors may be
large, and the manager is not to grow by them. The numbers are compared as they come, without numpy.
"""

import http.client
import json
import math
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from isthmus_agent import channel
from isthmus_agent.formats import bundle
from isthmus_agent.formats.answers import ANSWER_BY, DEVICE, NEVER, SAMPLE
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.paths import predict_path
from isthmus_agent.manager.loopback import LoopbackConnection

_HEADERS: Final = {"Content-Type": "application/json", ANSWER_BY: DEVICE, SAMPLE: NEVER}
"""It is the device's own answer that is probed, and golden vectors leave it no more than anything else."""
MOST_PROBES: Final = 3
"""Examples that are asked for: each alone, as the tolerance was measured."""


@dataclass(frozen=True)
class Question:
    """address: a host and port, or the path of a Unix socket. parent: the process that asks."""

    parent: int
    content: str
    address: Any
    timeout_seconds: float

    def to_text(self) -> str:
        """As an argument of a process."""
        return json.dumps(asdict(self))


def passed(question: Question) -> bool:
    """Whether each probe is answered with what the content's golden vectors say."""
    try:
        with Path(question.content).open("rb") as plain:
            manifest, golden = bundle.document(plain, bundle.MANIFEST), bundle.document(plain, bundle.GOLDEN)
        path = predict_path(manifest["model"], int(manifest["version"]))
        tolerance = float(manifest["golden_tolerance"])
        inputs, outputs = golden["inputs"], golden["outputs"]
        count = min(MOST_PROBES, *(len(column) for column in (*inputs.values(), *outputs.values())))
        for index in range(count):
            asked = {"inputs": {name: column[index : index + 1] for name, column in inputs.items()}}
            wanted = {name: column[index : index + 1] for name, column in outputs.items()}
            found = _ask(question, path, json.dumps(asked).encode())
            if not difference(found if len(wanted) > 1 else dict.fromkeys(wanted, found), wanted) <= tolerance:
                return False
    except (OSError, http.client.HTTPException, FormatError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return count > 0


def _ask(question: Question, path: str, body: bytes) -> Any:
    connection = LoopbackConnection(question.address, question.timeout_seconds)
    try:
        connection.request("POST", path, body, _HEADERS)
        reply = connection.getresponse()
        content = reply.read(bundle.MOST_BYTES[bundle.GOLDEN])
        if reply.status != 200:
            raise ValueError(f"status {reply.status}")
        return json.loads(content)["outputs"]
    finally:
        connection.close()


def difference(found: object, wanted: object) -> float:
    """The largest difference of any number; infinity where anything else differs."""
    if isinstance(wanted, dict) and isinstance(found, dict) and found.keys() == wanted.keys():
        return max((difference(found[name], it) for name, it in wanted.items()), default=0.0)
    if isinstance(wanted, list) and isinstance(found, list) and len(found) == len(wanted):
        return max(map(difference, found, wanted), default=0.0)
    if _is_number(wanted) and _is_number(found):
        return _apart(float(found), float(wanted))  # type: ignore[arg-type]
    return 0.0 if type(found) is type(wanted) and found == wanted else math.inf


def _apart(left: float, right: float) -> float:
    if left == right or (math.isnan(left) and math.isnan(right)):
        return 0.0
    apart = abs(left - right)
    return math.inf if math.isnan(apart) else apart


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


if __name__ == "__main__":
    asked = Question(**json.loads(sys.argv[1]))
    channel.end_with(asked.parent)
    sys.stdout.write(json.dumps(passed(asked)))
    sys.stdout.flush()
    os._exit(0)
