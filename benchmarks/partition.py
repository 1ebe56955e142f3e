"""A network split between two processes over a shaped link: `python benchmarks/partition.py [--network alexnet|mobilenet] [--requests N]`.

The network is AlexNet's (one of Neurosurgeon's) or MobileNetV2's layers with random weights, as recipe float32 compiles them: where it is
fastest depends on shapes, not on what was learned. Labels are its own answers, so that `accuracy` is how often eight bits on the wire
change none of them. Its cuts are measured as `isthmus partition` does; then a device process and a cloud process, in a network namespace
of its own behind a veth pair whose sending side is shaped by `tc tbf`, answer requests all on the device, all in the cloud, and the way
that the table says. A device runs its half --speed-factor times: it is slow by work, not by sleep. The cloud waits the round trip before
it answers: netem, which could delay packets, is not in every kernel. Needs root for the link; without, only the model is shown.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from report import machine
from isthmus.compile import CompileRequest, compile_release
from isthmus.compile.build.running import EdgeRunner
from isthmus.compile.halves.measured import Measured
from isthmus.compile.halves.run import measure_cuts
from isthmus.compile.halves.trying import Halved
from isthmus.compile.halves.ways import Offer, Plan, Situation, plan
from isthmus.partition.cuts import find_cuts, inputs_of
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import EDGE, Release

SWEEP = (0.5, 1, 2, 5, 10, 20, 50, 100)
EXAMPLES = 16
ALLOWED = 1.05
PORT = 47_113
_HEADER = struct.Struct("<II")
NETWORKS = ("alexnet", "mobilenet")


def write_model(network: str, folder: Path) -> None:
    """model.keras and evaluation.npz, in a process that ends: TensorFlow would take its threads into the measurements."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    if network == "mobilenet":
        model = keras.applications.MobileNetV2(weights=None)
    else:
        model = keras.Sequential(
            [
                layers.Input((227, 227, 3)),
                layers.Conv2D(96, 11, strides=4, activation="relu"),
                layers.MaxPooling2D(3, 2),
                layers.Conv2D(256, 5, padding="same", activation="relu"),
                layers.MaxPooling2D(3, 2),
                layers.Conv2D(384, 3, padding="same", activation="relu"),
                layers.Conv2D(384, 3, padding="same", activation="relu"),
                layers.Conv2D(256, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(3, 2),
                layers.Flatten(),
                layers.Dense(4096, activation="relu"),
                layers.Dense(4096, activation="relu"),
                layers.Dense(1000, activation="softmax"),
            ]
        )
    # Smooth pictures rather than noise: what is deflated should have what pictures have.
    coarse = np.random.default_rng(0).random((EXAMPLES, 8, 8, 3), np.float32)
    pictures = np.asarray(keras.ops.image.resize(coarse, model.input_shape[1:3], interpolation="bicubic"), np.float32).clip(0, 1)
    model.save(folder / "model.keras")
    np.savez(folder / "evaluation.npz", x=pictures, y=model.predict(pictures, verbose=0).argmax(axis=1))


async def measured(folder: Path, network: str, say: Any) -> tuple[Release, Measured]:
    request = CompileRequest(network, str(folder), "float32")
    cache = ReleaseCache(folder / "cache")
    release = await compile_release(request, cache, say)
    return release, await measure_cuts(request, release, folder / "evaluation.npz", cache, say)


def halves(release: Release, layers: Sequence[int], work: Path) -> dict[int, Halved]:
    """The halves of some cuts, as the worker makes them."""
    data = release.path(release.manifest.variant(EDGE).files[0]).read_bytes()
    places: dict[int, Any] = {0: None, **{cut.layers: cut for cut in find_cuts(data).cuts}}
    sent, manifest = inputs_of(data), release.manifest
    return {it: Halved.make(data, places[it], sent, manifest.inputs, manifest.outputs, work, "partition") for it in layers}


def serve(folder: Path, round_trip_ms: float) -> None:
    """The cloud: reads a way's number and its bytes, runs that tail, answers. Ends with its parent's connection."""
    offers = json.loads((folder / "ways.json").read_text())
    tails = {it["layers"]: Halved.load(folder / "halves", it["layers"], "cloud") for it in offers if it["layers"] is not None}
    from isthmus.compile.halves.measured import Form

    forms = [Form.from_json(it["form"]) if it["form"] else None for it in offers]
    with socket.create_server(("", PORT)) as server:
        print("ready", flush=True)
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as stream:
            while head := stream.read(_HEADER.size):
                way, size = _HEADER.unpack(head)
                form, data = forms[way], stream.read(size)
                assert form is not None
                answer = tails[offers[way]["layers"]].tail_runner.run(form.wire.decode(data))
                time.sleep(round_trip_ms / 1000)
                body = b"".join(values.tobytes() for values in answer.values())
                connection.sendall(_HEADER.pack(way, len(body)) + body)


@contextmanager
def shaped_link() -> Iterator[tuple[str, str, str]]:
    """A network namespace behind a veth pair. Gives its name, the address in it, and this side's device; all is removed at the end."""
    name, ours, theirs = f"isthmus-cut-{os.getpid()}", f"cut{os.getpid()}a", f"cut{os.getpid()}b"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        _run("ip", "address", "add", "10.213.77.1/30", "dev", ours)
        _run("ip", "link", "set", ours, "up")
        for words in ("address add 10.213.77.2/30 dev " + theirs, "link set " + theirs + " up", "link set lo up"):
            _run("ip", "-n", name, *words.split())
        yield name, "10.213.77.2", ours
    finally:
        subprocess.run(["ip", "link", "delete", ours], check=False, capture_output=True)
        _run("ip", "netns", "delete", name)


def shape(device: str, megabits_per_second: float) -> None:
    """A bucket of few packets: a larger one would let small features pass as if there were no limit."""
    burst = max(3200, int(megabits_per_second * 1e6 / 8 / 1000))
    rate = f"{int(megabits_per_second * 1000)}kbit"
    _run("tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", rate, "burst", str(burst), "latency", "5s")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


class Device:
    """The device's side: answers requests in a way, and says how long it took."""

    def __init__(self, folder: Path, release: Release, found: Plan, halved: dict[int, Halved], factor: int, address: str) -> None:
        file = release.path(release.manifest.variant(EDGE).files[0])
        self._whole = EdgeRunner(file, release.manifest.inputs, release.manifest.outputs, "device")
        self._plan, self._halved, self._factor = found, halved, factor
        self._socket = socket.create_connection((address, PORT))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def answer_ms(self, way: int, inputs: dict[str, Any]) -> float:
        offer: Offer = self._plan.offers[way]
        start = time.perf_counter()
        if offer.cut is None or offer.form is None:
            for _ in range(self._factor):
                self._whole.run(inputs)
        else:
            for _ in range(self._factor):
                data = offer.form.wire.encode(self._halved[offer.cut.layers].features(inputs))
            self._socket.sendall(_HEADER.pack(way, len(data)) + data)
            _, size = _HEADER.unpack(self._stream.read(_HEADER.size))
            self._stream.read(size)
        return (time.perf_counter() - start) * 1000


def run_link(folder: Path, release: Release, found: Plan, situation: Situation, requests: int, sweep: Sequence[float]) -> list[dict[str, Any]]:
    """Medians of requests that are sent in turn: all on the device, all in the cloud, and as the table says."""
    layers = sorted({it.cut.layers for it in found.offers if it.cut is not None})
    halved = halves(release, layers, folder / "halves")
    from dataclasses import asdict

    ways = [{"layers": it.cut.layers if it.cut else None, "form": asdict(it.form) if it.form else None} for it in found.offers]
    (folder / "ways.json").write_text(json.dumps(ways))
    archive = np.load(folder / "evaluation.npz")["x"]
    name = release.manifest.inputs[0].name
    rows = []
    with shaped_link() as (namespace, address, device):
        command = [sys.executable, __file__, "--serve", str(folder), "--round-trip-ms", str(situation.round_trip_ms)]
        cloud = subprocess.Popen(["ip", "netns", "exec", namespace, *command], stdout=subprocess.PIPE, text=True)
        try:
            assert cloud.stdout is not None
            if cloud.stdout.readline().strip() != "ready":
                raise SystemExit("the cloud's process did not start")
            client = Device(folder, release, found, halved, round(situation.speed_factor), address)
            for bandwidth in sweep:
                shape(device, bandwidth)
                best_cloud = min(found.cloud, key=lambda way: found.choice.ways[way].latency_ms(bandwidth))
                taken = {"local": found.local[0], "cloud": best_cloud, "chosen": found.choice.best(bandwidth)}
                times: dict[str, list[float]] = {kind: [] for kind in taken}
                for number in range(requests + 1):
                    for kind, way in taken.items():
                        inputs = {name: archive[number % len(archive)][None]}
                        elapsed = client.answer_ms(way, inputs)
                        if number:  # the first opens the window of the connection and wakes the caches
                            times[kind].append(elapsed)
                modelled = {kind: found.choice.ways[way].latency_ms(bandwidth) for kind, way in taken.items()}
                medians = {kind: statistics.median(values) for kind, values in times.items()}
                rows.append({"bandwidth": bandwidth, "way": found.choice.ways[taken["chosen"]].name, "modelled": modelled, "measured": medians})
            client.close()
        finally:
            cloud.terminate()
            cloud.wait()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="alexnet")
    parser.add_argument("--requests", type=int, default=7)
    parser.add_argument("--speed-factor", type=int, default=8)
    parser.add_argument("--round-trip-ms", type=float, default=20.0)
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.round_trip_ms)
        return
    if options.write:
        write_model(options.network, options.write)
        return
    console = Console(width=None if sys.stdout.isatty() else 150)
    situation = Situation(options.round_trip_ms, float(options.speed_factor), 1.0, 0.005, 0.05)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run([sys.executable, __file__, "--network", options.network, "--write", str(folder)], check=True, capture_output=True)
        release, found = asyncio.run(measured(folder, options.network, lambda step: print(step, file=sys.stderr)))
        chosen = plan(found, situation)
        if os.geteuid():
            console.print("no root: the link is not made, and what follows is the model's")
        rows = [] if os.geteuid() else run_link(folder, release, chosen, situation, options.requests, SWEEP)
    title = f"{options.network}, {found.layers} layers, {len(found.cuts) - 1} cuts, a device × {options.speed_factor}, "
    table = Table(
        "Mbit/s", "way", "device", "cloud", "chosen", "device", "cloud", "chosen", "chosen / better",
        title=f"{title}round trip {options.round_trip_ms:g} ms; modelled and measured ms; {machine()}",
    )  # fmt: skip
    worst = 0.0
    for row in rows:
        ratio = row["measured"]["chosen"] / min(row["measured"]["local"], row["measured"]["cloud"])
        worst = max(worst, ratio)
        figures = (f"{row[kind][way]:.1f}" for kind in ("modelled", "measured") for way in ("local", "cloud", "chosen"))
        table.add_row(f"{row['bandwidth']:g}", row["way"], *figures, f"{ratio:.3f}")
    for bandwidth in SWEEP if not rows else ():
        best, local, cloud = chosen.latency_ms(bandwidth)
        name = chosen.choice.ways[chosen.choice.best(bandwidth)].name
        table.add_row(f"{bandwidth:g}", name, *(f"{ms:.1f}" for ms in (local, cloud, best)), "", "", "", "")
    console.print(table)
    if rows:
        console.print(f"worst measured, chosen / better of the extremes: {worst:.3f} (goal: at most {ALLOWED})")


if __name__ == "__main__":
    main()
