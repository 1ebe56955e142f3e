"""Requests answered in halves, by what runs on devices and servers, over a shaped link: `python benchmarks/partition_runtime.py`.

A small camera network with random weights (float32; where it is cut best depends on shapes) goes through what a preview does: its cuts are
tried and timed, and the few worth serving are put into a release. The project's own server serves it in a network namespace behind a veth
pair that `tc tbf` shapes; the device program's own service answers whole JSON requests here, in three arms in turn: all on the device; all
in the cloud, with the inputs as the release sends them (or, where the release has no such way, as the client sent them); and as the device
chooses by what it measures, which is told nothing of the link. The device is slow by work: each run is done --speed-factor times. What is
measured is the wall's clock from the request's bytes to the answer's, after as many unmeasured requests as let the device learn of a new
bandwidth. Needs root.
"""

import argparse
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from partition import ALLOWED, shape, shaped_link
from report import machine
from rich.console import Console
from rich.table import Table

from isthmus.compile.build.edge import float_model
from isthmus.compile.halves.jobs import JOBS
from isthmus.parting import signed_halves
from isthmus.partition.wanted import Wanted
from isthmus.release.hashing import file_sha256
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
from isthmus_agent.channel import Fallback as Asked
from isthmus_agent.formats.halves import from_json
from isthmus_agent.server.answers import Answer, Later
from isthmus_agent.server.cloud import Cloud
from isthmus_agent.server.fallback import Fallback
from isthmus_agent.server.halves import Parted
from isthmus_agent.server.http import Reader
from isthmus_agent.server.manifest import Manifest as Served
from isthmus_agent.server.model import Model
from isthmus_agent.server.service import Service

SWEEP = (0.2, 0.5, 1, 2, 5, 10, 20, 50)
EXAMPLES, SIZE = 8, 96
LEARNING_SECONDS = 6.0
PORT, NAME = 47_114, "camera"


def write_release(folder: Path) -> None:
    """The whole release, in a process that ends: TensorFlow would take its threads into the measurements."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((SIZE, SIZE, 3)),
            layers.Conv2D(16, 5, strides=2, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            *(layers.Conv2D(96, 3, padding="same", activation="relu") for _ in range(4)),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    coarse = np.random.default_rng(0).random((EXAMPLES, 8, 8, 3), np.float32)
    pictures = np.asarray(keras.ops.image.resize(coarse, (SIZE, SIZE), interpolation="bicubic"), np.float32).clip(0, 1)
    model.export(folder / "serving" / "1", verbose=False)
    (folder / "edge").mkdir()
    (folder / "edge/model.tflite").write_bytes(float_model(folder / "serving" / "1", NAME))
    np.savez(folder / "evaluation.npz", x=pictures, y=model.predict(pictures, verbose=0).argmax(axis=1))
    (folder / "golden.json").write_text("{}")


def split(folder: Path, wanted: Wanted, say: Callable[[str], None]) -> Release:
    """The release with its halves, as a preview makes it."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(folder / "edge/model.tflite")).get_signature_runner()
    sides = [
        [TensorSpec(name, np.dtype(it["dtype"]).name, (-1, *map(int, it["shape"][1:]))) for name, it in side.items()]
        for side in (runner.get_input_details(), runner.get_output_details())
    ]

    def entry(path: Path) -> FileEntry:
        return FileEntry(path.relative_to(folder).as_posix(), path.stat().st_size, file_sha256(path))

    served = tuple(entry(it) for it in sorted((folder / "serving").rglob("*")) if it.is_file())
    variants = (Variant(SERVING, "float32", served, None, 0.0), Variant(EDGE, "float32", (entry(folder / "edge/model.tflite"),), None, 0.0))
    golden, shapes = entry(folder / "golden.json"), (tuple(sides[0]), tuple(sides[1]))
    manifest = Manifest(NAME, 1, "float32", "serving_default", *shapes, variants, golden, 1e-3, None, EXAMPLES, ())
    (folder / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    timing = Timing(1.0, 1.0, 1.0, 1)
    (folder / RECORD_NAME).write_bytes(Record("", "", timing, timing).to_bytes())
    job: dict[str, Any] = {
        "file": str(folder / "edge/model.tflite"),
        "evaluation": str(folder / "evaluation.npz"),
        "inputs": [asdict(spec) for spec in sides[0]],
        "outputs": [asdict(spec) for spec in sides[1]],
        "where": NAME,
        "release": str(folder),
        "into": str(folder / "split"),
        "wanted": asdict(wanted),
        "tolerance": 1e-3,
    }
    job["measured"] = JOBS["cut"](job, say)
    job["measured"] = JOBS["time"](job, say)
    JOBS["build"](job, say)
    into = folder / "split"
    found = Manifest.from_bytes((into / MANIFEST_NAME).read_bytes())
    return Release(into, found, Record.from_bytes((into / RECORD_NAME).read_bytes()))


class SlowModel(Model):
    """A model on a slower processor."""

    factor = 1

    def predict(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        for _ in range(self.factor):
            found = super().predict(inputs)
        return found

    def head(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        for _ in range(self.factor):
            found = super().head(signature, inputs)
        return found


class Device:
    """The device program's service in this process, with its own connections to the cloud. forced: the one way that it takes, if it is
    not to choose."""

    def __init__(self, model: Model, release: Release, url: str, forced: str | None = None) -> None:
        self.cloud = Cloud(Asked(url, 0.0, 60.0), most_answer_bytes=1 << 20, request_seconds=60.0, version=1)
        fallback = Fallback(self.cloud, 0.0)
        halves = from_json((signed_halves(release) or "").encode(), release.digest)
        self.parted = Parted(halves, model, fallback, 60_000.0)
        if forced is not None:
            chooser = self.parted._chooser
            chooser.way = next(index for index, it in enumerate(halves.ways) if it.tail == forced)
            chooser.look = lambda _: chooser.way  # type: ignore[method-assign]
        self.service = Service(model, "", {}, fallback, parted=self.parted)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.cloud.fileno(), selectors.EVENT_READ)

    def ask(self, content: bytes) -> tuple[float, str]:
        """How many ms a request takes, and who answered it."""
        began = time.perf_counter()
        reader = Reader(8 << 20)
        reader.feed(content)
        request = reader.take()
        assert request is not None  # noqa: S101
        found: Answer | Later = self.service.answer(request)
        while isinstance(found, Later):
            self._selector.select(1.0)
            for question, answer in self.cloud.answered():
                if question is found.question:
                    found = found.finish(answer)
                    break
        for _ in self.cloud.answered():
            pass
        assert found.reply.status == 200, found.reply.body[:200]  # noqa: S101
        return 1000 * (time.perf_counter() - began), found.headers.strip().rpartition(" ")[2]


def measure(folder: Path, release: Release, factor: int, requests: int) -> list[dict[str, Any]]:
    """Medians at every bandwidth."""
    manifest = Served.from_bytes(release.manifest.to_bytes())
    SlowModel.factor = factor
    model = SlowModel(release.path(release.manifest.variant(EDGE).files[0]).read_bytes(), manifest, threads=1, most_batch=32)
    pictures = np.load(folder / "evaluation.npz")["x"]

    def content(number: int, *headers: str) -> bytes:
        body = json.dumps({"instances": [pictures[number % EXAMPLES].round(4).tolist()]}).encode()
        head = [f"POST /v1/models/{NAME}:predict HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body

    rows = []
    with shaped_link() as (namespace, address, device):
        command = [sys.executable, "-m", "isthmus.server", f"--rest_api_port={PORT}", "--port=0", f"--model_name={NAME}"]
        command += [f"--model_base_path={release.directory / 'serving'}", f"--bind_address={address}"]
        with (folder / "server.log").open("wb") as log:
            server = subprocess.Popen(["ip", "netns", "exec", namespace, *command], stdout=log, stderr=log)
        try:
            url = f"http://{address}:{PORT}"
            _await(address, server, folder / "server.log")
            tails = [it["tail"] for it in (release.record.halves or {})["ways"] if it["head"] is None]
            chosen, cloud = Device(model, release, url), Device(model, release, url, tails[0])
            for bandwidth in SWEEP:
                shape(device, bandwidth)
                until = time.monotonic() + LEARNING_SECONDS
                number = 0
                while time.monotonic() < until or number < 6:
                    chosen.ask(content(number))
                    number += 1
                arms: dict[str, Callable[[int], tuple[float, str]]] = {
                    "device": lambda it: chosen.ask(content(it, "X-Isthmus-Answer-By: device")),
                    "cloud": lambda it: cloud.ask(content(it)),
                    "chosen": lambda it: chosen.ask(content(it)),
                }
                times: dict[str, list[float]] = {arm: [] for arm in arms}
                ways = []
                for it in range(requests):
                    for arm, ask in arms.items():
                        took, _ = ask(it)
                        times[arm].append(took)
                    way = chosen.parted.way
                    ways.append("device" if way is None else "cloud" if way.head is None else f"cut {way.head.rpartition('_')[2]}")
                rows.append({"bandwidth": bandwidth, "way": statistics.mode(ways), **{a: statistics.median(t) for a, t in times.items()}})
                print(rows[-1], file=sys.stderr, flush=True)
        finally:
            server.terminate()
            server.wait()
    return rows


def _await(address: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    while server.poll() is None:
        try:
            socket.create_connection((address, PORT), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(log.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=9)
    parser.add_argument("--speed-factor", type=int, default=8)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if options.write:
        write_release(options.write)
        return
    if os.geteuid():
        raise SystemExit("it needs root, for the link")
    wanted = replace(Wanted(), speed_factors=(float(options.speed_factor),), round_trip_ms=3.0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([sys.executable, __file__, "--write", str(folder)], check=True, **quiet)
        release = split(folder, wanted, lambda step: print(step, file=sys.stderr, flush=True))
        print(json.dumps(release.record.halves), file=sys.stderr)
        rows = measure(folder, release, options.speed_factor, options.requests)
    title = f"a camera network, a device × {options.speed_factor}; median ms of {options.requests} whole requests; {machine()}"
    table = Table("Mbit/s", "device", "cloud", "chosen", "way", "chosen / better", title=title)
    worst = 0.0
    for row in rows:
        ratio = row["chosen"] / min(row["device"], row["cloud"])
        worst = max(worst, ratio)
        figures = (f"{row[arm]:.1f}" for arm in ("device", "cloud", "chosen"))
        table.add_row(f"{row['bandwidth']:g}", *figures, row["way"], f"{ratio:.3f}")
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table)
    console.print(f"worst, chosen / better of the extremes: {worst:.3f} (goal: at most {ALLOWED})")


if __name__ == "__main__":
    main()
