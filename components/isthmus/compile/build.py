"""A release from a source, step by step. Runs in the worker."""

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from isthmus.compile.edge import convert
from isthmus.compile.evaluation import load_evaluation
from isthmus.compile.export import SIGNATURE, copy_saved_model, export_keras
from isthmus.compile.golden import choose_golden, golden_json, golden_tolerance, nice_ceiling
from isthmus.compile.key import tool_versions
from isthmus.compile.load import load_keras, load_saved_model
from isthmus.compile.measure import EdgeRunner, Runner, ServingRunner, accuracy, largest_difference, time_edge, time_serving
from isthmus.compile.request import CompileRequest
from isthmus.compile.source import SAVED_MODEL, Source
from isthmus.release.hashing import file_sha256
from isthmus.release.manifest import (
    EDGE,
    GOLDEN_NAME,
    MANIFEST_NAME,
    RECORD_NAME,
    SERVING,
    FileEntry,
    Manifest,
    Record,
    Variant,
)

STEPS = 6


def build_release(request: CompileRequest, source: Source, directory: Path, progress: Callable[[str], None]) -> None:
    """Writes a complete release to `directory`, which must not exist.

    Raises:
        SourceError: the source is at fault.
        OSError: the disk is full, say.
    """

    def step(number: int, text: str) -> None:
        progress(f"step {number} of {STEPS}: {text}")

    where = f"{request.model}.model"
    serving = directory / "serving" / str(request.version)
    edge = directory / "edge" / "model.tflite"
    serving.parent.mkdir(parents=True)
    edge.parent.mkdir()

    step(1, f"load {source.name}")
    if source.kind == SAVED_MODEL:
        model = load_saved_model(source, where)
        copy_saved_model(source, serving)
    else:
        keras_model = load_keras(source, where)
        model = keras_model.described
        step(2, "export the serving variant (SavedModel)")
        export_keras(keras_model, serving, where)
    evaluation = load_evaluation(source.evaluation, model, where)

    step(3, f"convert the edge variant ({request.recipe})")
    edge.write_bytes(convert(serving, request.recipe, where))

    step(4, f"run both variants on {evaluation.examples} held-out examples" if evaluation.examples else "run both variants")
    golden = choose_golden(model, evaluation)
    runners: dict[str, Runner] = {SERVING: ServingRunner(serving, model.outputs), EDGE: EdgeRunner(edge, model, where)}
    differences = {kind: largest_difference(golden, runner) for kind, runner in runners.items()}
    tolerance = golden_tolerance(golden, list(differences.values()))
    (directory / GOLDEN_NAME).write_text(golden_json(SIGNATURE, golden))
    recipes = {SERVING: "float32", EDGE: request.recipe}
    variants = tuple(
        Variant(
            kind,
            recipes[kind],
            _entries(directory, directory / kind),
            accuracy(evaluation, runner),
            nice_ceiling(differences[kind], golden.noise),
        )
        for kind, runner in runners.items()
    )

    step(5, "measure the time of one request")
    record = Record(
        machine_class=f"{platform.machine()} {_cores()} cores",
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        serving=time_serving(serving.parent, request.model, golden),
        edge=time_edge(runners[EDGE], golden),
    )

    step(6, "write the manifest")
    manifest = Manifest(
        model=request.model,
        version=request.version,
        recipe=request.recipe,
        signature=SIGNATURE,
        inputs=model.inputs,
        outputs=model.outputs,
        variants=variants,
        golden=_entry(directory, directory / GOLDEN_NAME),
        golden_tolerance=tolerance,
        source_accuracy=accuracy(evaluation, model),
        evaluation_examples=evaluation.examples,
        tools=tool_versions(),
    )
    (directory / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    (directory / RECORD_NAME).write_bytes(record.to_bytes())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _entry(directory: Path, path: Path) -> FileEntry:
    return FileEntry(path.relative_to(directory).as_posix(), path.stat().st_size, file_sha256(path))


def _entries(directory: Path, folder: Path) -> tuple[FileEntry, ...]:
    return tuple(_entry(directory, path) for path in sorted(folder.rglob("*")) if path.is_file())
