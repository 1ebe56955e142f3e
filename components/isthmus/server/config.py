"""Which models to serve, and how to be watched: from flags and from TensorFlow Serving's text files."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.config import model_server_config_pb2

from isthmus.names import METRICS_PATH
from isthmus.server.errors import StartError
from isthmus.server.flags import Options


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
        text = _read(options.model_config_file)
        config = model_server_config_pb2.ModelServerConfig()
        try:
            text_format.Parse(text, config)
        except text_format.ParseError as error:
            raise StartError(f"Invalid protobuf file: '{options.model_config_file}': {error}") from None
        return models_from_proto(config)
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
    config = _monitoring_config()()
    try:
        text_format.Parse(_read(monitoring_config_file), config)
    except text_format.ParseError as error:
        raise StartError(f"Invalid protobuf file: '{monitoring_config_file}': {error}") from None
    if not config.prometheus_config.enable:
        return None
    return str(config.prometheus_config.path) or METRICS_PATH


def _monitoring_config() -> Any:
    """The MonitoringConfig message, which the published stubs leave out."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="isthmus/monitoring_config.proto", package="isthmus.monitoring", syntax="proto3")
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, type=kinds.TYPE_BOOL, label=kinds.LABEL_OPTIONAL)
    prometheus.field.add(name="path", number=2, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    file.message_type.add(name="MonitoringConfig").field.add(
        name="prometheus_config",
        number=1,
        type=kinds.TYPE_MESSAGE,
        type_name=".isthmus.monitoring.PrometheusConfig",
        label=kinds.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("isthmus.monitoring.MonitoringConfig"))


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"cannot read {path}: {error}") from None
