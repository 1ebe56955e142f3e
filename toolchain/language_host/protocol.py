"""The protocol's message classes and stubs, without the rest of the Pulumi SDK.

`import pulumi` costs more than a third of a second and registers asyncio machinery that a host does not need; the generated
modules under `pulumi/runtime/proto` stand alone. Empty parent modules let them be imported by their real names.
"""

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

_PARENTS = ("pulumi", "pulumi.runtime", "pulumi.runtime.proto")


def _install_empty_parents() -> None:
    spec = importlib.util.find_spec("pulumi")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the Pulumi SDK is not installed in this environment; run `make up`")
    root = Path(next(iter(spec.submodule_search_locations)))
    for name in _PARENTS:
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module


def _load(name: str) -> Any:
    return importlib.import_module(f"pulumi.runtime.proto.{name}")


if "pulumi" not in sys.modules:
    _install_empty_parents()

language: Any = _load("language_pb2")
language_grpc: Any = _load("language_pb2_grpc")
analyzer: Any = _load("analyzer_pb2")
plugin: Any = _load("plugin_pb2")
engine: Any = _load("engine_pb2")
engine_grpc: Any = _load("engine_pb2_grpc")
