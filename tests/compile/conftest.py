"""Models of every kind to compile, and the digits release, compiled once for the whole session."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.compile import CompileRequest
from isthmus.compile.key import resolve
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import MANIFEST_NAME, RECORD_NAME, Manifest, Record, Release

PROJECT = Path(__file__).parents[2]
COMPILE_PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from isthmus.compile import CompileRequest, compile_release
from isthmus.release.cache import ReleaseCache
base, source, recipe, cache = sys.argv[1:]
lines = []
request = CompileRequest("digits", source, recipe, base_directory=Path(base))
release = asyncio.run(compile_release(request, ReleaseCache(Path(cache)), lines.append))
print(json.dumps({"digest": release.digest, "directory": str(release.directory), "progress": lines, "modules": sorted(sys.modules)}))
"""

ZOO = """
import os
import pathlib
import time

import keras

from .layers import UNITS


def build():
    x = keras.Input((4,), name="x")
    return keras.Model(x, keras.layers.Dense(UNITS, name="out")(x))


def broken():
    print("noise that must not disturb")
    return {}["weights"]


def leaves():
    raise SystemExit(3)


def number():
    return 7


def slow():
    pathlib.Path(os.environ["TMPDIR"], "partial").write_text(str(os.getpid()))
    time.sleep(300)


def dies():
    os._exit(9)


def credentials():
    raise ValueError(",".join(sorted(name for name in os.environ if name.startswith(("AWS_", "PULUMI_")))) or "none seen")
"""


def start_compile(base: Path, source: str, cache: Path, recipe: str = "int8") -> "subprocess.Popen[str]":
    """A preview, as far as compiling goes: a process of its own that prints what it got, and which modules it has."""
    arguments = [sys.executable, "-c", COMPILE_PROGRAM, str(base), source, recipe, str(cache)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "components")}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=base, env=environment)


def result(process: "subprocess.Popen[str]") -> dict[str, Any]:
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return json.loads(output)


@dataclass(frozen=True)
class DigitsRelease:
    """cache: with the digits release. results: of the two processes that asked for it at the same time."""

    cache: ReleaseCache
    release: Release
    results: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Preview:
    """start: a process that compiles. result: what it printed, once it has ended."""

    start: Callable[..., "subprocess.Popen[str]"] = start_compile
    result: Callable[["subprocess.Popen[str]"], dict[str, Any]] = result


@pytest.fixture(scope="session")
def preview() -> Preview:
    return Preview()


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture(scope="session")
def digits_release(once: Callable[[str, Callable[[Path], Any]], tuple[Path, Any]]) -> DigitsRelease:
    """The digits model with recipe int8, cold, asked for by two processes at once."""

    def compiled(folder: Path) -> list[dict[str, Any]]:
        processes = [start_compile(PROJECT, "models/digits", folder / "releases") for _ in range(2)]
        return [result(process) for process in processes]

    folder, results = once("digits-release", compiled)
    cache = ReleaseCache(folder / "releases")
    release = cache.find(results[0]["digest"])
    assert release is not None
    return DigitsRelease(cache, release, tuple(results))


@pytest.fixture
def compile_here(tmp_path: Path) -> Callable[..., Release]:
    """The jobs of a compile one after the other in this process: quick, once TensorFlow is imported. options: of the request."""

    def run(source: str, base: Path, recipe: str = "float32", name: str = "release", **options: Any) -> Release:
        from isthmus.compile.build.jobs import JOBS

        request = CompileRequest("tiny", source, recipe, base_directory=base, **options)
        work = tmp_path / name
        work.mkdir()
        common = json.loads(json.dumps({"request": asdict(request), "source": asdict(resolve(request)), "work": work}, default=str))
        prepared = JOBS["prepare"](common, lambda _: None)
        digests = {"serving": prepared["digest"]}
        for index in range(len(prepared["recipes"])):
            digests[str(index)] = JOBS["candidate"]({**common, "index": index}, lambda _: None)["digest"]
        times = JOBS["time"]({**common, "variants": [name for name, digest in digests.items() if digest]}, lambda _: None)
        JOBS["finish"]({**common, "times": times}, lambda _: None)
        directory = work / "release"
        manifest = Manifest.from_bytes((directory / MANIFEST_NAME).read_bytes())
        return Release(directory, manifest, Record.from_bytes((directory / RECORD_NAME).read_bytes()))

    return run


@pytest.fixture(scope="session")
def build_tflite() -> Callable[..., bytes]:
    """Writes .tflite files of one operator, from `x` to `y`, float32 [1, 4] each, without TensorFlow."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def new(kind: str, **fields: Any) -> Any:
        made = getattr(schema, kind + "T")()
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    def build(operator: str, constant: "np.ndarray[Any, Any] | None" = None, *, custom: str | None = None, output: str = "y") -> bytes:
        """constant: its second input. custom: the name of a CUSTOM operator. output: the name of `y` in the signature."""
        code = getattr(schema.BuiltinOperator, operator)
        tensors = [new("Tensor", name=name, shape=[1, 4], type=schema.TensorType.FLOAT32, buffer=0) for name in ("x", "y")]
        buffers, inputs = [new("Buffer")], [0]
        if constant is not None:
            kind = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8}[constant.dtype.name]
            buffers.append(new("Buffer", data=list(constant.tobytes())))
            tensors.append(new("Tensor", name="weights", shape=list(constant.shape), type=kind, buffer=1))
            inputs.append(2)
        options = {"builtinOptionsType": schema.BuiltinOptions.AddOptions, "builtinOptions": new("AddOptions")} if operator == "ADD" else {}
        call = new("Operator", opcodeIndex=0, inputs=inputs, outputs=[1], **options)
        maps = [new("TensorMap", name=name, tensorIndex=index) for index, name in enumerate(("x", output))]
        model = new(
            "Model",
            version=3,
            operatorCodes=[new("OperatorCode", builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=1, customCode=custom)],
            subgraphs=[new("SubGraph", tensors=tensors, inputs=[0], outputs=[1], operators=[call], name="main")],
            buffers=buffers,
            signatureDefs=[new("SignatureDef", signatureKey="serving_default", subgraphIndex=0, inputs=maps[:1], outputs=maps[1:])],
        )
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    return build


@pytest.fixture(autouse=True)
def nothing_is_written_beside_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a worker: some tests import a source in this process, and others look for what a compile has left beside it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small models of every kind, good and bad ones."""
    keras = pytest.importorskip("keras")
    tf = pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("sources")
    keras.utils.set_random_seed(3)
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(64, "relu", name="hidden")(keras.layers.Concatenate(name="both")([left, right])))
    outputs = {"label": keras.layers.Dense(3, "softmax", name="label")(hidden), "size": keras.layers.Dense(1, name="size")(hidden)}
    two_inputs = keras.Model({"left": left, "right": right}, outputs)
    two_inputs.save(folder / "two_inputs.keras")
    two_inputs.export(str(folder / "saved"), verbose=False)

    generator = np.random.default_rng(5)
    image = keras.Input((4,), name="image")
    single = keras.Model(image, keras.layers.Dense(3, "softmax", name="label")(image))
    (folder / "single").mkdir()
    single.save(folder / "single" / "model.keras")
    np.savez(folder / "wrong_shape.npz", x=generator.random((10, 5), dtype=np.float32), y=np.arange(10) % 3)
    np.savez(folder / "float_labels.npz", x=generator.random((10, 4), dtype=np.float32), y=np.linspace(0, 1, 10))
    np.savez(folder / "right.npz", x=generator.random((10, 4)), y=np.arange(10) % 3)

    keras.Sequential([keras.layers.Dense(3)]).save(folder / "no_inputs.keras")
    bare = tf.Module()
    bare.weight = tf.Variable(1.0)
    tf.saved_model.save(bare, str(folder / "no_signature"))

    package = folder / "zoo"
    package.mkdir()
    (package / "layers.py").write_text("UNITS = 5\n")
    (package / "models.py").write_text(ZOO)
    return folder
