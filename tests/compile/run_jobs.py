"""A compile's four jobs without TensorFlow: each leaves a note of when it ran, and the last writes a small release.

What they do is in the model's name: `two`, `crash-one`, `crash-all`, `hang`, …
"""

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from isthmus.errors import GateError, Problem
from isthmus.release.manifest import (
    EDGE,
    GOLDEN_NAME,
    MANIFEST_NAME,
    RECORD_NAME,
    SERVING,
    FileEntry,
    Manifest,
    Record,
    TensorSpec,
    Timing,
    Variant,
)

Job = dict[str, Any]
Say = Callable[[str], None]


def _note(job: Job, kind: str) -> None:
    with (Path(job["work"]) / "notes").open("a") as notes:
        notes.write(f"{kind} {os.getpid()}\n")


def prepare(job: Job, say: Say) -> Job:
    say("load it")
    _note(job, "prepare")
    name = job["request"]["model"]
    recipes = ["float32"] if name.startswith("one") else ["float32", "int8", "prune:80%+int8"]
    if not name.startswith("one") and job["request"]["recipe"] != "auto":
        recipes = [job["request"]["recipe"]]
    return {"recipes": recipes, "examples": 0, "metric": "accuracy", "digest": _digest(name)}


def candidate(job: Job, say: Say) -> Job:
    say(f"candidate {job['index']}")
    _note(job, f"candidate-{job['index']}")
    name, index = job["request"]["model"], job["index"]
    if "hang" in name and index == 0:
        Path(os.environ["TMPDIR"], "partial").write_text(str(os.getpid()))
        time.sleep(600)
    if "crash-all" in name or ("crash" in name and index == 1):
        os.kill(os.getpid(), signal.SIGSEGV)
        signal.pause()
    return {"problem": "", "digest": _digest(f"{name} {job['request']['recipe']} {index}")}


def time_(job: Job, say: Say) -> Job:
    say(f"measure {' '.join(job['variants'])}")
    _note(job, "time")
    return {name: asdict(Timing(time.time(), 1.0, 1.0, 10)) for name in job["variants"]}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def finish(job: Job, say: Say) -> Job:
    _note(job, "finish")
    if "gate" in job["request"]["model"]:
        raise GateError([Problem("m.min_accuracy", "no recipe keeps it")])
    folder = Path(job["work"]) / "release"
    files = {}
    contents = {
        "serving/1/saved_model.pb": job["request"]["model"].encode() * 1000,
        "edge/model.tflite": b"e",
        GOLDEN_NAME: json.dumps(job["lost"]).encode(),
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        files[name] = FileEntry(name, len(content), hashlib.sha256(content).hexdigest())
    variants = (
        Variant(SERVING, "float32", (files["serving/1/saved_model.pb"],), None, 0.0),
        Variant(EDGE, "int8", (files["edge/model.tflite"],), None, 0.0),
    )
    spec = (TensorSpec("x", "float32", (-1, 4)),)
    serving, edge = (Timing(**job["times"][name]) for name in ("serving", "0"))
    model, recipe = job["request"]["model"], job["request"]["recipe"]
    manifest = Manifest(model, 1, recipe, "serving_default", spec, spec, variants, files[GOLDEN_NAME], 0.1, None, 0, ())
    (folder / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    notes = (Path(job["work"]) / "notes").read_text()  # where a test finds them
    (folder / RECORD_NAME).write_bytes(Record(notes, str(time.time()), serving, edge).to_bytes())
    return {"recipe": "int8", "reason": "it is the only one"}


JOBS = {"prepare": prepare, "candidate": candidate, "time": time_, "finish": finish}
