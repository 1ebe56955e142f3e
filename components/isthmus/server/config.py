"""Which models to serve, and how to be watched: from flags and from TensorFlow Serving's text files."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from isthmus.names import METRICS_PATH
from isthmus.server.batching import BatchingParameters
from isthmus.server.errors import StartError
from isthmus.server.flags import Options
from isthmus.server.messages import message_class

_POSITIVE = frozenset({"max_batch_size", "max_enqueued_batches", "num_batch_threads", "max_execution_batch_size"})
_BATCHING = (*sorted(_POSITIVE), "batch_timeout_micros", "enable_large_batch_splitting")


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions on disk are served: the newest `latest`, or those in `specific`; all where both are None."""

    latest: int | None = 1
    specific: frozenset[int] | None = None

    def choose(self, found: Iterable[int]) -> set[int]:
        versions = sorted(found)
        if self.specific is not None:
            return set(self.specific.intersection(versions))
        return set(versions if self.latest is None else versions[-self.latest :])


@dataclass(frozen=True)
class ModelConfig:
    """base_path: absolute, with one folder for each numbered version. labels: version by label."""

    name: str
    base_path: Path
    policy: VersionPolicy = VersionPolicy()
    labels: dict[str, int] = field(default_factory=dict)


def read_models(options: Options) -> list[ModelConfig]:
    """The models that the flags ask for. Raises StartError."""
    if options.model_config_file:
        return models_from_proto(_parsed(options.model_config_file, model_server_config_pb2.ModelServerConfig()))
    if not options.model_base_path:
        raise StartError("model_base_path is not set; expected an absolute path. Fix: --model_base_path or --model_config_file")
    return [_checked(ModelConfig(options.model_name, Path(options.model_base_path)))]


def models_from_proto(config: Any) -> list[ModelConfig]:
    """The models of a ModelServerConfig. Raises StartError."""
    if config.WhichOneof("config") == "custom_model_config":
        raise StartError("custom_model_config is not supported; expected model_config_list")
    models = [_model(entry) for entry in config.model_config_list.config]
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise StartError(f"Illegal to list model {name} multiple times in config list")
    return models


def _model(entry: Any) -> ModelConfig:
    if entry.model_platform != "tensorflow":
        raise StartError(f"model {entry.name}: model_platform is {entry.model_platform!r}; expected 'tensorflow'")
    policy = VersionPolicy()
    choice = entry.model_version_policy.WhichOneof("policy_choice")
    if choice == "all":
        policy = VersionPolicy(latest=None)
    elif choice == "specific":
        policy = VersionPolicy(latest=None, specific=frozenset(entry.model_version_policy.specific.versions))
    elif choice == "latest":
        policy = VersionPolicy(latest=entry.model_version_policy.latest.num_versions or 1)
    return _checked(ModelConfig(entry.name, Path(entry.base_path), policy, dict(entry.version_labels)))


def _checked(model: ModelConfig) -> ModelConfig:
    if not model.name:
        raise StartError("a model has no name")
    if not model.base_path.is_absolute():
        raise StartError(f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}")
    return model


def read_metrics_path(monitoring_config_file: str) -> str | None:
    """Path that the metrics are served at; None where they are not asked for. Raises StartError."""
    if not monitoring_config_file:
        return None
    config = _parsed(monitoring_config_file, message_class("MonitoringConfig")())
    if not config.prometheus_config.enable:
        return None
    return str(config.prometheus_config.path) or METRICS_PATH


def read_batching(options: Options) -> BatchingParameters | None:
    """How calls are batched; None where they are not. Raises StartError."""
    path = options.batching_parameters_file
    if not options.enable_batching:
        if path:
            raise StartError("batching_parameters_file is set without enable_batching. Fix: --enable_batching")
        return None
    if not path:
        return BatchingParameters()
    config = _parsed(path, message_class("BatchingParameters")())
    given: dict[str, Any] = {name: getattr(config, name).value for name in _BATCHING if config.HasField(name)}
    parameters = BatchingParameters(
        allowed_batch_sizes=tuple(config.allowed_batch_sizes), pad_variable_length_inputs=config.pad_variable_length_inputs, **given
    )
    problems = [f"{name} is {value}; expected at least 1" for name, value in given.items() if name in _POSITIVE and value < 1]
    sizes = parameters.allowed_batch_sizes
    if sizes and sizes[-1] != parameters.run_size:
        problems.append(
            f"Last entry in allowed_batch_sizes must match max_batch_size; last entry was {sizes[-1]}; expected {parameters.run_size}"
        )
    if list(sizes) != sorted(set(sizes)) or (sizes and sizes[0] < 1):
        problems.append(f"allowed_batch_sizes is {list(sizes)}; expected numbers from 1 in increasing order")
    if problems:
        raise StartError(f"{path}: {'; '.join(problems)}")
    return parameters


def _parsed(path: str, message: Any) -> Any:
    """The message that the text file has. Raises StartError."""
    try:
        return text_format.Parse(_read(path), message)
    except text_format.ParseError as error:
        raise StartError(f"Invalid protobuf file: '{path}': {error}") from None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"cannot read {path}: {error}") from None
