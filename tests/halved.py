"""A release whose network is split, made without a compile: of a chain of operators, as a file for devices and as a SavedModel."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.graphs import Node, graph_file

from isthmus.compile.halves.jobs import JOBS
from isthmus.compile.halves.measured import Measured
from isthmus.partition.cuts import Found, find_cuts
from isthmus.partition.wanted import Wanted
from isthmus.release.manifest import (
    EDGE,
    MANIFEST_NAME,
    RECORD_NAME,
    SERVING,
    FileEntry,
    Manifest,
    Record,
    Release,
    TensorSpec,
    Timing,
    Variant,
)

MODEL, WIDTH, EXAMPLES = "digits", 4096, 6
INPUT, OUTPUT = "x", "y"
RAMP = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None]
SPECS = {INPUT: TensorSpec(INPUT, "float32", (-1, WIDTH)), OUTPUT: TensorSpec(OUTPUT, "float32", (-1, WIDTH))}


def inputs() -> np.ndarray:
    """[examples, width]: a few numbers, so that deflating gains something."""
    return np.random.default_rng(1).integers(-2, 3, (EXAMPLES, WIDTH)).astype(np.float32) / 2


def answers(rows: np.ndarray) -> np.ndarray:
    """What the network answers."""
    return np.asarray(1 / (1 + np.exp(-np.tanh(rows + RAMP))), np.float32)


def whole_release(folder: Path, version: int = 1, powers: int = 0) -> Release:
    """Of the network in one piece. powers: how many powers of one are behind its second layer: a device computes them, and takes long,
    while TensorFlow sees that there is nothing to do. So a server is faster, as in a fleet, on the machine that runs both.
    """
    import tensorflow as tf

    module, served = tf.Module(), f"serving/{version}"
    module.ramp = tf.Variable(RAMP)

    def run(x: Any) -> dict[str, Any]:
        return {OUTPUT: tf.sigmoid(tf.tanh(x + module.ramp))}

    call = tf.function(run, input_signature=[tf.TensorSpec((None, WIDTH), tf.float32, INPUT)])
    slow = [Node("POW", (f"s{it}", "one"), f"s{it + 1}") for it in range(powers)]
    chain = [Node("ADD", (INPUT, "ramp"), "a"), Node("TANH", ("a",), "s0"), *slow, Node("LOGISTIC", (f"s{powers}",), OUTPUT)]
    constants = {"ramp": RAMP, **({"one": np.ones_like(RAMP)} if powers else {})}
    tf.saved_model.save(module, str(folder / served), signatures={"serving_default": call.get_concrete_function()})
    (folder / "edge").mkdir()
    (folder / "edge/model.tflite").write_bytes(graph_file(chain, outputs=[OUTPUT], constants=constants, width=WIDTH))
    golden = {"inputs": {INPUT: inputs()[:2].tolist()}, "outputs": {OUTPUT: answers(inputs()[:2]).tolist()}}
    (folder / "golden.json").write_text(json.dumps(golden))

    def entry(path: Path) -> FileEntry:
        content = path.read_bytes()
        return FileEntry(path.relative_to(folder).as_posix(), len(content), hashlib.sha256(content).hexdigest())

    files = [entry(it) for it in sorted((folder / served).rglob("*")) if it.is_file()]
    variants = [Variant(SERVING, "int8", tuple(files), 1.0, 0.0), Variant(EDGE, "int8", (entry(folder / "edge/model.tflite"),), 1.0, 0.0)]
    manifest = Manifest(
        MODEL, version, "int8", "serving_default", (SPECS[INPUT],), (SPECS[OUTPUT],), tuple(variants),
        entry(folder / "golden.json"), 1e-3, 1.0, EXAMPLES, (),
    )  # fmt: skip
    record = Record("x86_64 2 cores", "2026-11-30", Timing(1, 1, 1, 1), Timing(1, 1, 1, 1))
    (folder / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    (folder / RECORD_NAME).write_bytes(record.to_bytes())
    return Release(folder, manifest, record)


def job_of(
    release: Release, into: Path, wanted: Wanted, *, whole_ms: float = 1.0, labels: bool = True, only: Sequence[int] = ()
) -> dict[str, Any]:
    """What the job `build` is told: every cut was tried, and its times are made up. only: of these cuts; empty: of all."""
    rows, evaluation = inputs(), release.directory / "evaluation.npz"
    np.savez(evaluation, x=rows, y=answers(rows).argmax(axis=1))
    common: dict[str, Any] = {
        "file": str(release.path(release.manifest.variant(EDGE).files[0])),
        "evaluation": str(evaluation) if labels else None,
        "inputs": [asdict(SPECS[INPUT])],
        "outputs": [asdict(SPECS[OUTPUT])],
        "where": f"{MODEL}.model",
    }
    with pytest.MonkeyPatch.context() as patch:
        if only:
            patch.setattr("isthmus.compile.halves.jobs.find_cuts", lambda data: _some(find_cuts(data), only))
        found = Measured.from_json(JOBS["cut"](common, lambda _: None))
    share = {it.layers: it.layers / found.layers for it in found.cuts}
    cuts = tuple(replace(it, head_ms=whole_ms * share[it.layers], tail_ms=whole_ms * (1 - share[it.layers])) for it in found.cuts)
    measured = replace(found, cuts=cuts, whole_ms=whole_ms)
    more = {"measured": measured.to_json(), "wanted": asdict(wanted), "tolerance": 1e-3}
    return {**common, **more, "release": str(release.directory), "into": str(into)}


def _some(found: Found, only: Sequence[int]) -> Found:
    return replace(found, cuts=tuple(it for it in found.cuts if it.layers in only))


def split_release(release: Release, into: Path, wanted: Wanted, **options: Any) -> Release:
    """The release with its halves."""
    JOBS["build"](job_of(release, into, wanted, **options), lambda _: None)
    manifest, record = Manifest.from_bytes((into / MANIFEST_NAME).read_bytes()), Record.from_bytes((into / RECORD_NAME).read_bytes())
    return Release(into, manifest, record)
