"""`isthmus predict`: one request to the cloud role and to each device, and who answered what."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import requests
from rich.markup import escape
from rich.table import Table

from isthmus.cli.inputs import load_request
from isthmus.cli.stack_state import StackState, read_stack
from isthmus.errors import InputError, PlatformError, Problem

_TIMEOUT_SECONDS = 30
ANSWERED_BY = "X-Isthmus-Answered-By"


@dataclass(frozen=True)
class Target:
    """One place to ask. url: of the model, …/v1/models/NAME."""

    role: str
    url: str


@dataclass(frozen=True)
class Answer:
    """What one place said. error: why there are no predictions."""

    target: Target
    predictions: Any = None
    milliseconds: float = 0.0
    answered_by: str = ""
    error: str = ""


def targets_of(stack_or_url: str, model: str | None) -> list[Target]:
    """Everyone to ask: one URL, or the cloud role and every device of a stack.

    Raises:
        InputError: a URL without a model name; a stack that is not there; a model that the stack does not have.
    """
    if "://" in stack_or_url:
        path = urlsplit(stack_or_url).path.rstrip("/")
        url = stack_or_url.rstrip("/").removesuffix(":predict")
        if "/models/" in path:
            return [Target("url", url)]
        if model is None:
            raise InputError([Problem("--model", "is missing", "a model's name, or a URL that ends in /v1/models/NAME")])
        return [Target("url", f"{url}/v1/models/{model}")]
    found = list(_of_stack(read_stack(stack_or_url), model))
    if not found:
        raise InputError([Problem("--model", f"stack {stack_or_url!r} has no model {model!r}", "one that `isthmus status` lists")])
    return found


def _of_stack(state: StackState, model: str | None) -> Iterable[Target]:
    for service in state.services().values():
        if model in (None, service["model_name"]):
            yield Target("cloud", f"{service['endpoint']}/v1/models/{service['model_name']}")
    for fleet in state.fleets().values():
        if model in (None, fleet["model_name"]):
            for device, endpoint in fleet["devices"].items():
                yield Target(device, f"{endpoint}/v1/models/{fleet['model_name']}")


def ask(target: Target, file: Path) -> Answer:
    """One predict call; whatever goes wrong at that place is in the answer. Raises InputError for a file that is wrong."""
    try:
        metadata = requests.get(f"{target.url}/metadata", timeout=_TIMEOUT_SECONDS).json()
        if "error" in metadata:
            return Answer(target, error=str(metadata["error"]))
        signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
        body = load_request(file, signature)
        started = time.perf_counter()
        reply = requests.post(f"{target.url}:predict", json=body, timeout=_TIMEOUT_SECONDS)
        elapsed = (time.perf_counter() - started) * 1000
        content = reply.json()
    except (requests.RequestException, ValueError, KeyError) as error:
        return Answer(target, error=f"no answer from {target.url}: {type(error).__name__}")
    if reply.status_code != 200:
        return Answer(target, error=f"{reply.status_code}: {content.get('error', '')}")
    predictions = content.get("predictions", content.get("outputs"))
    return Answer(target, predictions, elapsed, reply.headers.get(ANSWERED_BY, ""))


def table(answers: Iterable[Answer]) -> Table:
    """One row for each place and each example."""
    found = Table("role", "answer", "confidence", "time", "answered by")
    for answer in answers:
        if answer.error:
            found.add_row(answer.target.role, f"[red]{escape(answer.error)}[/red]", "", "", "")
            continue
        for prediction in answer.predictions if isinstance(answer.predictions, list) else [answer.predictions]:
            label, confidence = _read(prediction)
            found.add_row(answer.target.role, label, confidence, f"{answer.milliseconds:.1f} ms", answer.answered_by or answer.target.role)
    return found


def _read(prediction: Any) -> tuple[str, str]:
    """A class and its probability where the answer is a distribution; the answer itself where it is not."""
    values = next(iter(prediction.values())) if isinstance(prediction, Mapping) and len(prediction) == 1 else prediction
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        return str(prediction), ""
    if array.ndim == 1 and array.size > 1 and (array >= 0).all() and abs(array.sum() - 1) < 1e-3:
        return str(int(array.argmax())), f"{array.max():.1%}"
    return np.array2string(array, precision=4, threshold=8), ""


def all_failed(answers: Iterable[Answer]) -> PlatformError | None:
    """An error where nobody answered."""
    errors = [f"{answer.target.role}: {answer.error}" for answer in answers if answer.error]
    return PlatformError("nobody answered:\n" + "\n".join(errors)) if errors and len(errors) == len(list(answers)) else None
