"""The flags of TensorFlow Serving's model server that the embedded server knows."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.names import GRPC_PORT

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Options:
    """What the flags say. Ports: 0 switches the interface off."""

    bind_address: str
    port: int
    grpc_socket_path: str
    rest_api_port: int
    rest_api_socket_path: str
    rest_api_num_threads: int
    rest_api_timeout_in_ms: int
    rest_api_enable_cors_support: bool
    model_name: str
    model_base_path: str
    model_config_file: str
    model_config_file_poll_wait_seconds: int
    file_system_poll_wait_seconds: int
    max_num_load_retries: int
    load_retry_interval_micros: int
    allow_version_labels_for_unavailable_models: bool
    monitoring_config_file: str
    enable_batching: bool
    batching_parameters_file: str
    enable_model_warmup: bool
    enable_reload_config: bool
    enable_grpc_healthcheck_service: bool
    enable_serialization_as_tensor_content: bool
    tensorflow_intra_op_parallelism: int
    tensorflow_inter_op_parallelism: int
    drain_seconds: float


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not true or false")
    return text.lower() in {"true", "1"}


# name, type, default, meaning
_FLAGS: tuple[tuple[str, Any, Any, str], ...] = (
    ("bind_address", str, LOOPBACK, "address that both interfaces listen on"),
    ("port", int, GRPC_PORT, "gRPC port; 0: no gRPC"),
    ("grpc_socket_path", str, "", "path of a Unix socket for gRPC"),
    ("rest_api_port", int, 0, "REST port; 0: no REST"),
    ("rest_api_socket_path", str, "", "path of a Unix socket for REST"),
    ("rest_api_num_threads", int, 4 * (os.cpu_count() or 1), "calls that are worked on at once"),
    ("rest_api_timeout_in_ms", int, 30000, "time limit of a REST call, in milliseconds"),
    ("rest_api_enable_cors_support", _boolean, False, "let web pages of other origins call the REST API (CORS headers)"),
    ("model_name", str, "default", "name of the model"),
    ("model_base_path", str, "", "absolute path of the folder with the model's numbered versions"),
    ("model_config_file", str, "", "a ModelServerConfig in protobuf text; replaces model_name and model_base_path"),
    ("model_config_file_poll_wait_seconds", int, 0, "seconds between looks at model_config_file; 0: it is read once"),
    ("file_system_poll_wait_seconds", int, 1, "seconds between looks for new versions; 0: once"),
    ("max_num_load_retries", int, 5, "how often a version that cannot be loaded is tried again"),
    ("load_retry_interval_micros", int, 60_000_000, "time between these tries, in microseconds"),
    ("allow_version_labels_for_unavailable_models", _boolean, False, "accept labels of versions that are not available"),
    ("monitoring_config_file", str, "", "a MonitoringConfig in protobuf text"),
    ("enable_batching", _boolean, False, "run calls of one signature that wait together in one run of the model"),
    ("batching_parameters_file", str, "", "a BatchingParameters in protobuf text"),
    ("enable_model_warmup", _boolean, True, "replay assets.extra/tf_serving_warmup_requests when a version is loaded"),
    ("enable_reload_config", _boolean, False, "let clients replace the served models (ModelService.HandleReloadConfigRequest)"),
    ("enable_grpc_healthcheck_service", _boolean, False, "offer the standard gRPC health service"),
    ("enable_serialization_as_tensor_content", _boolean, False, "send outputs over gRPC as bytes, not in the value fields of their types"),
    ("tensorflow_intra_op_parallelism", int, 0, "threads of one operation; 0: one a core"),
    ("tensorflow_inter_op_parallelism", int, 0, "threads for independent operations; 0: a call runs on its own thread"),
    ("drain_seconds", float, 8.0, "how long calls may go on after SIGTERM"),
)
# Flags that a working TensorFlow Serving command line may have and that change no answer here.
_WITHOUT_EFFECT = (
    "enable_per_model_batching_parameters",
    "num_load_threads",
    "num_unload_threads",
    "flush_filesystem_caches",
    "tensorflow_session_parallelism",
    "grpc_max_threads",
    "grpc_channel_arguments",
    "per_process_gpu_memory_fraction",
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m isthmus.server", description=__doc__, allow_abbrev=False)
    for name, kind, default, meaning in _FLAGS:
        bare: dict[str, Any] = {"nargs": "?", "const": True} if kind is _boolean else {}
        shown = f"{meaning} (default: {default})" if default != "" else meaning
        parser.add_argument(f"--{name}", type=kind, default=default, help=shown, metavar=name.upper(), **bare)
    for name in _WITHOUT_EFFECT:
        parser.add_argument(f"--{name}", nargs="?", const="true", help="accepted, without effect", metavar="X")
    return parser


def parse_flags(arguments: Sequence[str]) -> tuple[Options, list[str]]:
    """The options, and what to tell the user: the usage where a flag is unknown, a line for each flag without effect.

    Raises:
        SystemExit: a value has the wrong type, or `--help`.
    """
    parser = _parser()
    values, unknown = parser.parse_known_args(arguments)
    notes = [f"flag --{name} has no effect in the embedded server" for name in _WITHOUT_EFFECT if getattr(values, name) is not None]
    if unknown:
        notes.append(f"unknown: {' '.join(unknown)}\n{parser.format_usage()}")
    return Options(**{name: getattr(values, name) for name, *_ in _FLAGS}), notes
