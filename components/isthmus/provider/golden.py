"""What a release's golden vectors ask of a model server over REST, and how far its answers are off."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Question:
    """body: of a predict request. wanted: the answer by output name."""

    body: bytes
    wanted: Mapping[str, Any]


def questions(golden: bytes, most: int | None = None) -> list[Question]:
    """One predict request for each golden example, as the tolerance was measured.

    golden: the release's file. most: how many; None: all of them.
    """
    known = json.loads(golden)
    count = min((len(values) for values in known["inputs"].values()), default=0)
    found = []
    for index in range(count if most is None else min(count, most)):
        inputs = {name: values[index : index + 1] for name, values in known["inputs"].items()}
        body = json.dumps({"signature_name": known["signature"], "inputs": inputs}).encode()
        found.append(Question(body, {name: values[index : index + 1] for name, values in known["outputs"].items()}))
    return found


def difference(answers: Sequence[str], asked: Sequence[Question]) -> float:
    """The largest difference between answers and the golden ones; infinite where an answer is an error, or of another shape."""
    if len(answers) != len(asked):
        return math.inf
    worst = 0.0
    for text, question in zip(answers, asked, strict=True):
        try:
            found = json.loads(text)["outputs"]
        except (ValueError, KeyError, TypeError):
            return math.inf
        # TensorFlow Serving leaves the name out where there is one output.
        by_name = found if len(question.wanted) > 1 else {next(iter(question.wanted)): found}
        if not isinstance(by_name, dict):
            return math.inf
        worst = max([worst, *(_gap(values, by_name.get(name)) for name, values in question.wanted.items())])
    return worst


def _gap(wanted: Any, found: Any) -> float:
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return math.inf
        return max((_gap(*pair) for pair in zip(wanted, found, strict=True)), default=0.0)
    if isinstance(wanted, float | int) and isinstance(found, float | int) and not isinstance(wanted, bool):
        both_odd = (math.isnan(wanted) and math.isnan(found)) or wanted == found
        gap = abs(wanted - found)
        return 0.0 if both_odd else math.inf if math.isnan(gap) else gap
    return 0.0 if wanted == found else math.inf
