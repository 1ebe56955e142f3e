"""Programs run against Pulumi's mocks: what they declare, without an engine, a compile or a platform."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_pulumi_func

from isthmus import compiling, edge, stack
from isthmus.release.confidences import Calibration, Confidences
from isthmus.release.manifest import EDGE, GOLDEN_NAME, SERVING, FileEntry, Manifest, Record, Release, Timing, Variant
from isthmus_agent.formats.scores import PROBABILITIES


@dataclass
class Declared:
    """What a program declared. resources: type and name → inputs. outputs: of its components, resolved.

    deleted_first: types and names of what is deleted before it is replaced. retained: of what is not deleted at all.
    """

    resources: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    deleted_first: set[tuple[str, str]] = field(default_factory=set)
    retained: set[tuple[str, str]] = field(default_factory=set)

    def names(self, kind: str) -> list[str]:
        """The names of the resources whose type ends so."""
        return sorted(name for token, name in self.resources if token.rpartition(":")[2] == kind)

    def graph(self) -> set[str]:
        """Type and name of each resource."""
        return {f"{token} {name}" for token, name in self.resources}


class _Mocks(Mocks):
    """An engine that makes everything at once. Outputs are as the plugins' handlers name them."""

    def __init__(self, declared: Declared) -> None:
        self._declared = declared

    def call(self, args: MockCallArgs) -> Any:
        return {}

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        assert (args.typ, args.name) not in self._declared.resources, "declared twice"
        self._declared.resources[args.typ, args.name] = args.inputs
        kind = args.typ.rpartition(":")[2]
        found = {**_OUTPUTS.get(kind, {}), **args.inputs}
        if kind == "LocalDevices":
            named = {device["name"]: f"/{device['name']}" for device in args.inputs["devices"]}
            found |= {"folders": named, "marks": named}
        return f"{args.name}-id", found


_OUTPUTS: Mapping[str, Mapping[str, Any]] = {
    "LocalProcesses": {
        "endpoints": [{"rest": 1, "grpc": 2, "s3": 3}],
        "socket_paths": [{name: f"/{name}.sock" for name in ("rest", "grpc", "admin", "status")}],
    },
    "StoreCredentials": {"access_key": "a", "secret_key": "s"},
    "LoopbackCertificate": {"certificate": "c", "private_key": "k"},
    "FleetRepository": {"root_sha256": "r", "sign_again_at": "2026-01-01T00:00:00+00:00"},
    "FleetWave": {"name": "canary", "number": 1, "outcome": "passed", "confirmed": 1, "contents": {"*": "sha256:c"}},
    "DockerServer": {"container": "c", "rest_port": 1, "grpc_port": 2},
    "DockerModelFolder": {"directory": "/d", "version": 1},
    "RemoteImage": {"imageId": "i"},
}


def release(folder: Path, version: int = 1, recipe: str = "int8", confidences: Confidences | None = None, *, p95_ms: float = 1) -> Release:
    """A release with both variants, as if it had been compiled. confidences: of the edge variant; None: they are not known. p95_ms: of one
    request, and its mean."""
    (folder / GOLDEN_NAME).write_text(json.dumps({"signature": "serving_default", "inputs": {"x": [[0.0]]}, "outputs": {"y": [[0.0]]}}))
    timing = Timing(p95_ms, p95_ms, p95_ms, 1)
    variants = tuple(
        Variant(kind, recipe, (FileEntry(f"{kind}/{version}/{file}", 1_500, "0" * 64),), 0.98, 0.0)
        for kind, file in ((SERVING, "saved_model.pb"), (EDGE, "model.tflite"))
    )
    manifest = Manifest(
        model="digits",
        version=version,
        recipe=recipe,
        signature="serving_default",
        inputs=(),
        outputs=(),
        variants=variants,
        golden=FileEntry(GOLDEN_NAME, 1, "0" * 64),
        golden_tolerance=0.1,
        source_accuracy=0.98,
        evaluation_examples=450,
        tools=(),
        calibration=confidences and Calibration(PROBABILITIES, 1.5, 1e-9),
    )
    return Release(folder, manifest, Record("x86_64 2 cores", "2026-01-01", timing, timing, confidences=confidences))


@contextmanager
def compiled(
    monkeypatch: pytest.MonkeyPatch, folder: Path, confidences: Confidences | None = None, *, p95_ms: float = 1
) -> Iterator[list[Any]]:
    """Every compile is done at once, with the same release in its version and recipe, which has no files; yields the requests."""
    asked: list[Any] = []

    async def compile_release(request: Any, *_: Any, **__: Any) -> Release:
        asked.append(request)
        return release(folder, request.version, request.recipe, confidences, p95_ms=p95_ms)

    monkeypatch.setattr(compiling, "compile_release", compile_release)
    monkeypatch.setattr(edge, "downloads", lambda *_, **__: {})
    yield asked


def _note_options(declared: Declared) -> None:
    """Of what mocks are not told."""
    monitor: Any = SETTINGS.monitor
    register = monitor.RegisterResource

    def noting(request: Any) -> Any:
        for given, noted in ((request.deleteBeforeReplace, declared.deleted_first), (request.retainOnDelete, declared.retained)):
            if given:
                noted.add((request.type, request.name))
        return register(request)

    monitor.RegisterResource = noting


def run(sections: Mapping[str, Mapping[str, Any]]) -> Declared:
    """A stack file's sections, made into components against mocks. Raises what the program raises."""
    declared = Declared()

    def program() -> None:
        config = pulumi.Config("models")
        found = stack.make(stack.read(config))
        for title, components in found.items():
            for name, component in components.items():
                for key, value in vars(component).items():
                    if isinstance(value, pulumi.Output) and not key.startswith("_"):
                        value.apply(lambda it, at=f"{title}.{name}.{key}": declared.outputs.__setitem__(at, it))

    async def whole() -> None:
        SETTINGS.rpc_manager.clear()
        SETTINGS.outputs.clear()
        set_mocks(_Mocks(declared), project="models", stack="dev", preview=False)
        _note_options(declared)
        pulumi.runtime.set_all_config({f"models:{title}": json.dumps(content) for title, content in sections.items()})
        await run_pulumi_func(program)

    asyncio.run(whole())
    return declared
