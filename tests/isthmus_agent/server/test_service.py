"""When a device's own answer is passed on, as the policy says: by a model and a cloud that do as they are told."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.isthmus_agent.server.test_fallback import Silent

from isthmus_agent.formats.policy import Measured, Policy
from isthmus_agent.protocol import Signature, TensorInfo
from isthmus_agent.server.answers import Later
from isthmus_agent.server.fallback import Fallback
from isthmus_agent.server.http import Request
from isthmus_agent.server.model import InterpreterError
from isthmus_agent.server.service import Service

NETWORK = Measured("network", "ms", ("any",), ())
BODY = json.dumps({"instances": [[0.0]]}).encode()
SURE, UNSURE = [[0.9, 0.1]], [[0.55, 0.45]]


class Model:
    """Answers what it is told; None: it fails."""

    def __init__(self, says: Any) -> None:
        self.signature = Signature({"x": TensorInfo("float32", (-1, 1))}, {"y": TensorInfo("float32", (-1, 2))})
        self.manifest = SimpleNamespace(model="digits", version=1, signature="serving_default", calibration=None)
        self.takes_any_batch, self.says = True, says

    def check_shapes(self, inputs: Any) -> None: ...

    def predict(self, inputs: Any) -> Any:
        if self.says is None:
            raise InterpreterError("it fails")
        return {"y": np.array(self.says, np.float32)}


def is_asked(says: Any, places: tuple[str, ...], at: int) -> bool:
    """Whether the cloud is asked of a device that is in the place of that number from its first request on."""
    model: Any = Model(says)
    policy = Policy("sha256:" + "a" * 64, "*", places, (NETWORK,), (at,) * len(places), 1)
    service = Service(model, "", {}, Fallback(Silent(), 0.8), policy=policy)
    request = Request("POST", "/v1/models/digits:predict", BODY, True)
    answers = [service.answer(request)]
    service._router._looks_at = 0.0  # type: ignore[union-attr]
    return isinstance([*answers, service.answer(request)][-1], Later)


THREE = ("device", "device_then_cloud", "cloud")


@pytest.mark.parametrize(
    ("says", "places", "at", "wanted"),
    [
        (SURE, THREE, 0, False),
        (UNSURE, THREE, 0, False),
        (None, THREE, 0, True),  # it has no answer of its own
        (SURE, THREE, 1, False),
        (UNSURE, THREE, 1, True),
        (SURE, THREE, 2, True),
        (UNSURE, ("device", "cloud"), 0, True),  # as without a policy
        (SURE, ("device", "cloud"), 0, False),
    ],
)
def test_the_cloud_is_asked_where_the_policy_says_so(says: Any, places: tuple[str, ...], at: int, wanted: bool) -> None:
    assert is_asked(says, places, at) is wanted
