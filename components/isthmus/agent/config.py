"""What an agent is told: one JSON file that only its owner may read."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from isthmus.errors import InputError, Problem, property_path
from isthmus.limits import ANY_PORT, FALLBACK_TIMEOUT_MS, MIN_CONFIDENCE, POLL_SECONDS
from isthmus.release import signing
from isthmus.release.names import DEVICE
from isthmus.release.store import StoreAddress, endpoint_problems

# Devices that poll every second still write only so many reports.
MINIMUM_HEARTBEAT_SECONDS = 3.0
ACCESS_KEY_VARIABLE = "AWS_ACCESS_KEY_ID"
SECRET_KEY_VARIABLE = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a variable
MAX_CONFIG_BYTES = 1 << 20

_Name = Annotated[str, Field(pattern=f"^{DEVICE.pattern}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _checked_url(value: str) -> str:
    problems = endpoint_problems(value, "")
    if problems:
        raise ValueError(f"{problems[0].what}; expected {problems[0].expected}")
    return value.rstrip("/")


class StoreConfig(_Section):
    """Where the releases are. prefix: of every key, empty or ending with `/`.

    access_key, secret_key: left out, they come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    """

    endpoint: str
    region: str = "us-east-1"
    bucket: Annotated[str, Field(min_length=1)]
    prefix: Annotated[str, Field(pattern="^(|.*/)$")] = ""
    access_key: SecretStr
    secret_key: SecretStr

    _check_endpoint = field_validator("endpoint")(_checked_url)

    @property
    def address(self) -> StoreAddress:
        return StoreAddress(self.endpoint, self.region, self.access_key.get_secret_value(), self.secret_key.get_secret_value())


class FallbackConfig(_Section):
    """Who is asked when the device's own answer is not good enough.

    url: the cloud role's base URL. min_confidence: an answer below it is asked there; 0: only failures are.
    timeout_ms: after which the device's own answer stands.
    """

    url: str
    min_confidence: Annotated[float, Field(ge=MIN_CONFIDENCE.least, le=MIN_CONFIDENCE.most)]
    timeout_ms: Annotated[int, Field(ge=FALLBACK_TIMEOUT_MS.least, le=FALLBACK_TIMEOUT_MS.most)]

    _check_url = field_validator("url")(_checked_url)


class AgentConfig(_Section):
    """One device.

    model: the name that it serves under. state_directory: absolute; the agent's alone. port: 0 takes any free one.
    public_key: PEM; only what its owner signed is served. poll_seconds: between two looks at the store.
    """

    device: _Name
    fleet: _Name
    model: _Name
    state_directory: Path
    bind_address: str = "127.0.0.1"
    port: Annotated[int, Field(ge=ANY_PORT.least, le=ANY_PORT.most)]
    store: StoreConfig
    public_key: str
    poll_seconds: Annotated[float, Field(gt=POLL_SECONDS.least, le=POLL_SECONDS.most)]
    fallback: FallbackConfig | None = None

    @field_validator("state_directory")
    @classmethod
    def _check_directory(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("not an absolute path")
        return value

    @field_validator("public_key")
    @classmethod
    def _check_key(cls, value: str) -> str:
        try:
            signing.key_id(value)
        except InputError as error:
            raise ValueError(error.problems[0].what) from None
        return value

    @property
    def heartbeat_seconds(self) -> float:
        """The longest time between two reports."""
        return max(MINIMUM_HEARTBEAT_SECONDS, 2 * self.poll_seconds)


def load(path: Path, environment: Mapping[str, str] = os.environ) -> AgentConfig:
    """The configuration in a file. Raises InputError with all that is wrong, and never with a value that may be secret."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_CONFIG_BYTES)
    except OSError as error:
        raise InputError([Problem("--config", f"cannot read {path}: {error.strerror}", "a JSON file")]) from None
    problems = []
    if mode & 0o077:
        problems.append(Problem(str(path), f"others may read it (mode {mode:04o})", "mode 0600: it holds credentials", f"chmod 600 {path}"))
    try:
        raw = _with_credentials(content, environment)
        config = AgentConfig.model_validate(raw)
    except ValidationError as error:
        problems += [_problem(path, details) for details in error.errors(include_url=False, include_context=False, include_input=False)]
    except ValueError:  # of json; its text may show content
        problems.append(Problem(str(path), "not a JSON document"))
    if problems:
        raise InputError(problems)
    return config


def _with_credentials(content: bytes, environment: Mapping[str, str]) -> Any:
    import json

    raw = json.loads(content)
    if isinstance(raw, dict) and isinstance(raw.get("store"), dict):
        for key, variable in (("access_key", ACCESS_KEY_VARIABLE), ("secret_key", SECRET_KEY_VARIABLE)):
            if raw["store"].get(key) is None and environment.get(variable):
                raw["store"][key] = environment[variable]
    return raw


def _problem(path: Path, details: Mapping[str, Any]) -> Problem:
    where = property_path(details["loc"])
    variables = {"store.access_key": ACCESS_KEY_VARIABLE, "store.secret_key": SECRET_KEY_VARIABLE}
    fix = f"set it in the file, or {variables[where]} in the environment" if where in variables else ""
    return Problem(f"{path}: {where}", details["msg"].removeprefix("Value error, "), fix=fix)
