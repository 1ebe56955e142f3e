"""`isthmus predict`: one request to the cloud role and to each device, and who answered what."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from rich.markup import escape
from rich.table import Table

from isthmus.cli.commands.predict.inputs import load_request
from isthmus.errors import InputError, IsthmusError, PlatformError, Problem
from isthmus.gateway import TRACK_HEADER
from isthmus.observing.reach import Client, Direct, Reply, Way
from isthmus.observing.stack_state import StackState, read_stack
from isthmus.platforms.registry import observer_of
from isthmus_agent.formats.answers import ANSWERED_BY
from isthmus_agent.protocol import DEFAULT_SIGNATURE

_HINTS: Mapping[int, str] = {
    401: "put a client's API key of the stack's gateway.api_keys into the environment variable ISTHMUS_API_KEY",
    403: "this key may not ask here: see the stack's gateway.api_keys",
    429: "wait: this client has a limit, gateway.requests_per_second_per_client",
    503: "see `isthmus status`: no server is healthy, or all are busy",
}


@dataclass(frozen=True)
class Target:
    """One place to ask. model: its path there, v1/models/NAME."""

    role: str
    model: str
    way: Way


@dataclass(frozen=True)
class Answer:
    """What one place said. error: why there are no predictions. track: of the release that answered, where a gateway said so."""

    target: Target
    predictions: Any = None
    milliseconds: float = 0.0
    answered_by: str = ""
    track: str = ""
    error: str = ""


def targets_of(stack_or_url: str, model: str | None, client: Client) -> list[Target]:
    """Everyone to ask: one URL, or the cloud role and every device of a stack. A key and a track are for gateways alone.

    Raises:
        InputError: options that are wrong; a URL without a model name; a stack that is not there; a model that the stack does not have.
    """
    if problems := client.problems():
        raise InputError(problems)
    if "://" in stack_or_url:
        return [_of_url(stack_or_url, model, client)]
    found = list(_of_stack(read_stack(stack_or_url), model, client))
    if not found:
        raise InputError([Problem("--model", f"stack {stack_or_url!r} has no model {model!r}", "one that `isthmus status` lists")])
    return found


def _of_url(text: str, model: str | None, client: Client) -> Target:
    url = text.rstrip("/").removesuffix(":predict")
    base, slash, path = url.partition("/v1/models/")
    if not slash and model is None:
        raise InputError([Problem("--model", "is missing", "a model's name, or a URL that ends in /v1/models/NAME")])
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError([Problem("", f"{text!r} is no URL that can be asked", "http://… or https://…")])
    return Target("url", f"v1/models/{path or model}", Direct(base, client.headers(), client.ca))


def _of_stack(state: StackState, model: str | None, client: Client) -> Iterator[Target]:
    for name, service in state.services().items():
        if model in (None, service["model_name"]):
            yield Target("cloud", f"v1/models/{service['model_name']}", observer_of(service).way(name, service, client))
    for fleet in state.fleets().values():
        if model in (None, fleet["model_name"]):
            for device, endpoint in fleet["devices"].items():
                yield Target(device, f"v1/models/{fleet['model_name']}", Direct(endpoint))


def ask(target: Target, file: Path) -> Answer:
    """One predict call; whatever goes wrong at that place is in the answer. Raises InputError for a file that is wrong."""
    try:
        described = target.way.call(f"{target.model}/metadata")
        if described.status != 200:
            return Answer(target, error=refusal(described))
        signature = described.json()["metadata"]["signature_def"]["signature_def"][DEFAULT_SIGNATURE]
        body = load_request(file, signature)
        started = time.perf_counter()
        reply = target.way.call(f"{target.model}:predict", body)
        elapsed = (time.perf_counter() - started) * 1000
        if reply.status != 200:
            return Answer(target, error=refusal(reply))
        content = reply.json()
        predictions = content["predictions"] if "predictions" in content else content["outputs"]
    except InputError:
        raise
    except IsthmusError as error:
        return Answer(target, error=str(error))
    except (ValueError, KeyError, TypeError) as error:
        return Answer(target, error=f"what answers is no model server ({type(error).__name__})")
    headers = reply.headers
    return Answer(target, predictions, elapsed, headers.get(ANSWERED_BY.lower()) or target.way.note, headers.get(TRACK_HEADER, ""))


def refusal(reply: Reply) -> str:
    """What a reply that is none says, and what to do about it."""
    hint = _HINTS.get(reply.status)
    return f"{reply.status}: {reply.said()}{f'. Fix: {hint}' if hint else ''}"


def table(answers: Iterable[Answer]) -> Table:
    """One row for each place and each example."""
    found = Table("role", "answer", "confidence", "time", "answered by", "track")
    for answer in answers:
        if answer.error:
            found.add_row(answer.target.role, f"[red]{escape(answer.error)}[/red]")
            continue
        for prediction in answer.predictions if isinstance(answer.predictions, list) else [answer.predictions]:
            label, confidence = _read(prediction)
            who = answer.answered_by or answer.target.role
            found.add_row(answer.target.role, escape(label), confidence, f"{answer.milliseconds:.1f} ms", who, answer.track)
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
