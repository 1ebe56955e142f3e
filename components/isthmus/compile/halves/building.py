"""The job that puts the halves of a network into a release: heads beside the whole in the file for devices, tails as signatures of the
SavedModel beside its own. Runs in a worker.

    kind    job      result
    build   COMMON of `jobs` + {"release": its folder, "into": a folder that is not there, "measured": result of `time`, "wanted": `Wanted`,
            "tolerance": what an answer may differ by where there is no evaluation data}
                     {"ways": how many are served}; the folder holds the release, a copy where none is

Errors: SourceError (no such cut, no tail that a server could run), OSError.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from isthmus.compile.halves.choosing import Tail, choose_tails
from isthmus.compile.halves.measured import Measured
from isthmus.compile.halves.proving import Proof
from isthmus.compile.halves.surgery import with_heads
from isthmus.compile.halves.task import Task
from isthmus.compile.halves.translating import Tails
from isthmus.compile.quantise.flatbuffer import read
from isthmus.errors import Problem, SourceError
from isthmus.partition.cuts import Cut, find_cuts
from isthmus.partition.wanted import Wanted
from isthmus.release.hashing import file_sha256
from isthmus.release.manifest import EDGE, MANIFEST_NAME, RECORD_NAME, SERVING, FileEntry, Manifest, Record
from isthmus_agent.features import WireTensor
from isthmus_agent.formats.halves import Halves, Way
from isthmus_agent.formats.numbers import MILLION

SAVED_MODEL: Final = "saved_model.pb"
_FINGERPRINT: Final = "fingerprint.pb"
"""Of the SavedModel as it was; nothing needs it."""


def build(job: dict[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
    """Writes the release with the few ways that are worth serving."""
    import tensorflow as tf

    task, wanted, measured = Task(job), Wanted.from_json(job["wanted"]), Measured.from_json(job["measured"])
    source, into = Path(job["release"]), Path(job["into"])
    manifest = Manifest.from_bytes((source / MANIFEST_NAME).read_bytes())
    data = task.file.read_bytes()
    places: dict[int, Cut | None] = {0: None, **{it.layers: it for it in find_cuts(data).cuts}}
    tails = choose_tails(measured, wanted, data, places, task.where)
    _copy(source, into, manifest)
    if not tails:
        return {"ways": 0}
    progress(f"prove {len(tails)} tails in TensorFlow")
    proof = Proof(tf, _graph(tf, tails, task.where), task, measured, max_loss=wanted.max_loss, tolerance=float(job["tolerance"]))
    served = [(tail, cloud_ms * wanted.cloud_speed_factor) for tail in tails if (cloud_ms := proof.cloud_ms(tail)) is not None]
    if not served:
        what = "no tail answers in TensorFlow as it does on a device"
        raise SourceError([Problem(task.where, what, "one that keeps the accuracy", "leave `partition` out, or name another recipe")])
    progress(f"put the halves of {len(served)} ways into the release")
    edge, serving = manifest.variant(EDGE), manifest.variant(SERVING)
    heads = {tail.head: tail.place for tail, _ in served if tail.head and tail.place}
    (into / edge.files[0].path).write_bytes(with_heads(data, heads, task.where))
    saved = next(it.path for it in serving.files if Path(it.path).name == SAVED_MODEL)
    (into / saved).write_bytes(_graph(tf, [tail for tail, _ in served], task.where).added_to((source / saved).read_bytes()))
    stale = [it for it in serving.files if Path(it.path).name == _FINGERPRINT]
    for it in stale:
        (into / it.path).unlink()
    variants = tuple(replace(it, files=tuple(_entry(into, one) for one in it.files if one not in stale)) for it in manifest.variants)
    (into / MANIFEST_NAME).write_bytes(replace(manifest, variants=variants).to_bytes())
    whole, margin = max(1, round(1000 * measured.whole_ms)), round(wanted.margin * MILLION)
    figures = Halves("", whole, margin, tuple(_way(tail, cloud_ms) for tail, cloud_ms in served)).figures()
    record = Record.from_bytes((source / RECORD_NAME).read_bytes())
    (into / RECORD_NAME).write_bytes(replace(record, halves=figures).to_bytes())
    return {"ways": len(served)}


def _copy(source: Path, into: Path, manifest: Manifest) -> None:
    for name in (RECORD_NAME, MANIFEST_NAME, *(it.path for it in manifest.files)):
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, into / name)


def _graph(tf: Any, tails: list[Tail], where: str) -> Tails:
    made = Tails(tf)
    for tail in tails:
        made.add(tail.name, read(tail.content, where), tail.form.wire)
    return made


def _entry(folder: Path, file: FileEntry) -> FileEntry:
    path = folder / file.path
    return FileEntry(file.path, path.stat().st_size, file_sha256(path))


def _way(tail: Tail, cloud_ms: float) -> Way:
    head_ms, form = tail.cut.head_ms + tail.form.encode_ms, tail.form
    tensors = tuple(map(WireTensor.signed, form.wire.tensors))
    return Way(
        tail.head, tail.name, tensors, form.wire.deflate, round(1000 * head_ms), round(1000 * cloud_ms), max(1, round(form.sent_bytes))
    )
