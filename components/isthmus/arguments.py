"""What the components accept, and one place that checks it.

Each component has two views of its arguments: a TypedDict, which is what a program writes and what other languages get
as a schema, and a checked model of the same keys with every limit and default. `check_*` reports all problems at once.
TypedDicts keep to what Pulumi's component analyzer can read: no Literal, no unions, no string annotations.
"""

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypedDict, TypeVar

import yaml
from pulumi import Input
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from isthmus.compile.recipes import RECIPES
from isthmus.errors import InputError, Problem
from isthmus.sizing.replicas import MOST_REPLICAS

PLATFORMS = ("local",)
BALANCING = ("round_robin", "least_request")
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
DEFAULT_DEADLINE_SECONDS = 120
DEFAULT_FALLBACK_TIMEOUT_MS = 500


class LocalArgs(TypedDict, total=False):
    """The `local` platform's own arguments.

    port, grpc_port: of the gateway, on loopback; 0: any free one. directory: where run-time data is kept.
    """

    port: Input[int]
    grpc_port: Input[int]
    directory: Input[str]


class ProfileArgs(TypedDict, total=False):
    """Figures that replace the measured ones. service_ms: mean time of one request at one replica."""

    service_ms: Input[float]


class StoreArgs(TypedDict, total=False):
    """An S3 store that the stack does not own: endpoint URL, region, and credentials (secrets)."""

    endpoint: Input[str]
    region: Input[str]
    access_key: Input[str]
    secret_key: Input[str]


class SourceArgs(TypedDict, total=False):
    """What to compile, and the promise it must keep. Shared by all components."""

    model: Input[str]
    model_name: Input[str]
    recipe: Input[str]
    version: Input[int]
    evaluation: Input[str]
    min_accuracy: Input[float]
    platform: Input[str]
    local: Input[LocalArgs]


class ServingArgs(TypedDict, total=False):
    """Demand, objective and how requests are balanced."""

    requests_per_second: Input[float]
    p95_ms: Input[float]
    min_replicas: Input[int]
    max_replicas: Input[int]
    balancing: Input[str]
    profile: Input[ProfileArgs]


class RollingArgs(TypedDict, total=False):
    """A fleet file, where bundles go, and how sure a device must be to answer by itself."""

    fleet: Input[str]
    bucket: Input[str]
    store: Input[StoreArgs]
    deadline_seconds: Input[int]
    min_confidence: Input[float]
    fallback_timeout_ms: Input[int]


class CloudModelServiceArgs(SourceArgs, ServingArgs, total=False):
    """A model served in the cloud role."""


class EdgeFleetRolloutArgs(SourceArgs, RollingArgs, total=False):
    """A model on a fleet of devices. fallback_url: whom a device asks when it is not sure."""

    fallback_url: Input[str]


class HybridDeploymentArgs(SourceArgs, ServingArgs, RollingArgs, total=False):
    """Both roles of one model. The devices' fallback is the cloud role."""


def _one_of(values: tuple[str, ...], what: str) -> BeforeValidator:
    def check(value: object) -> object:
        if value not in values:
            raise ValueError(f"unknown {what} {value!r}; expected {' or '.join(values)}{_suggestion(str(value), values)}")
        return value

    return BeforeValidator(check)


def _suggestion(value: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(value, known, n=1)
    return f". Fix: did you mean {close[0]!r}?" if close else ""


Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65535)]


class _Checked(BaseModel):
    # protected_namespaces: `model_name` is TensorFlow Serving's word, and pydantic would keep `model_` for itself.
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), arbitrary_types_allowed=True)


class Local(_Checked):
    port: Port = 0
    grpc_port: Port = 0
    directory: str | None = None


class Profile(_Checked):
    service_ms: Positive | None = None


class Store(_Checked):
    """Values may be Outputs of other resources, so nothing but their presence is checked here."""

    endpoint: Any
    region: Any = "us-east-1"
    access_key: Any
    secret_key: Any


class Source(_Checked):
    model: Annotated[str, Field(min_length=1)]
    model_name: Name | None = None
    recipe: Annotated[str, _one_of(tuple(RECIPES), "recipe")] = "int8"
    version: Annotated[int, Field(ge=1, lt=2**31)] = 1
    evaluation: str | None = None
    min_accuracy: Share | None = None
    platform: Annotated[str, _one_of(PLATFORMS, "platform")] = "local"
    local: Local = Local()


class Serving(_Checked):
    requests_per_second: Positive
    p95_ms: Positive
    min_replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = 1
    max_replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = 100
    balancing: Annotated[str, _one_of(BALANCING, "balancing policy")] = "least_request"
    profile: Profile = Profile()


class Rolling(_Checked):
    fleet: str
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] = "models"
    store: Store | None = None
    deadline_seconds: Annotated[int, Field(ge=1, le=7 * 86400)] = DEFAULT_DEADLINE_SECONDS
    min_confidence: Share | None = None
    fallback_timeout_ms: Annotated[int, Field(ge=1, le=60_000)] = DEFAULT_FALLBACK_TIMEOUT_MS


class Cloud(Source, Serving):
    """CloudModelService, checked."""


class Edge(Source, Rolling):
    """EdgeFleetRollout, checked. fallback_url may be an Output."""

    fallback_url: Any = None


class Hybrid(Source, Serving, Rolling):
    """HybridDeployment, checked."""


class Device(_Checked):
    """One device of a fleet. port: of its REST server on loopback; 0: any free one."""

    name: Name
    port: Port = 0


class Fleet(_Checked):
    name: Name
    devices: Annotated[tuple[Device, ...], Field(min_length=1, max_length=1000)]


M = TypeVar("M", bound=_Checked)


def problems_of(model: type[M], raw: object, path: str) -> tuple[M | None, list[Problem]]:
    """The checked arguments, or None and everything that is wrong with them.

    Args:
        path: property path of `raw`, such as `services.digits`.
    """
    if not isinstance(raw, Mapping):
        return None, [Problem(path, f"found {type(raw).__name__}", "a mapping of arguments")]
    try:
        checked = model.model_validate(dict(raw))
    except ValidationError as error:
        return None, [_problem(item, model, path) for item in error.errors(include_url=False)]
    return checked, _across(checked, path)


def check(model: type[M], raw: object, path: str) -> M:
    """The checked arguments. Raises InputError with all problems at once."""
    checked, problems = problems_of(model, raw, path)
    if checked is None or problems:
        raise InputError(problems)
    return checked


def _across(checked: _Checked, path: str) -> list[Problem]:
    """Rules over more than one argument."""
    problems = []
    if isinstance(checked, Serving) and checked.min_replicas > checked.max_replicas:
        problems.append(
            Problem(f"{path}.min_replicas", f"{checked.min_replicas} is above max_replicas ({checked.max_replicas})", "min ≤ max")
        )
    if isinstance(checked, Source) and checked.local.port and checked.local.port == checked.local.grpc_port:
        problems.append(Problem(f"{path}.local.grpc_port", f"{checked.local.port} is also `port`", "two different ports"))
    if isinstance(checked, Edge) and checked.min_confidence is not None and checked.fallback_url is None:
        problems.append(Problem(f"{path}.min_confidence", "there is nobody to ask", "fallback_url beside it", "add fallback_url"))
    if isinstance(checked, Fleet):
        names = [device.name for device in checked.devices]
        problems += [
            Problem(f"{path}.devices", f"two devices are named {n!r}", "different names")
            for n in sorted({n for n in names if names.count(n) > 1})
        ]
    return problems


def _problem(item: Any, model: type[BaseModel], path: str) -> Problem:
    """One of pydantic's findings in our words. `input` is shown only for plain scalars, so no secret mapping gets out."""
    where = ".".join([path, *(str(part) for part in item["loc"])])
    kind, message, value = item["type"], item["msg"], item["input"]
    if kind == "missing":
        return Problem(where, "is missing", "a value", "add it")
    if kind == "extra_forbidden":
        known = tuple(model.model_fields) if len(item["loc"]) == 1 else ()
        close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        return Problem(where, "no such argument", fix=f"did you mean {close[0]!r}?" if close else "remove it")
    if kind == "value_error":
        what, _, rest = message.removeprefix("Value error, ").partition("; expected ")
        expected, _, fix = rest.partition(". Fix: ")
        return Problem(where, what, expected, fix)
    shown = f"found {value!r}" if isinstance(value, (int, float, str, bool)) else f"found {type(value).__name__}"
    if isinstance(value, float) and not math.isfinite(value):
        return Problem(where, shown, "a finite number")
    return Problem(where, shown, _EXPECTED.get(kind) or message.removeprefix("Input should be "))


# Where pydantic's own words are for programmers.
_EXPECTED = {
    "string_pattern_mismatch": "letters, digits, `-` and `_` (a bucket: lower case), beginning with a letter or digit, at most 63",
    "too_short": "at least one",
    "model_type": "a mapping",
}


def load_fleet(text: str, base_directory: Path, path: str) -> Fleet:
    """The fleet of a fleet file (YAML).

    Raises:
        InputError: no such file, not YAML, or wrong content; all problems at once.
    """
    file = base_directory / text
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            [Problem(path, f"cannot read fleet file {text!r}: {error.strerror}", "a YAML file with `name` and `devices`")]
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise InputError([Problem(path, f"fleet file {text!r} is not YAML{line}", "a YAML file with `name` and `devices`")]) from error
    return check(Fleet, raw, path)
