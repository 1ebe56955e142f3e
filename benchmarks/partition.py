"""A network split between two processes over a shaped link: `python benchmarks/partition.py [--network alexnet|mobilenet] [--requests N]`.

The network has AlexNet's layers (one of Neurosurgeon's; its dense layers a quarter as wide) or MobileNetV2's with random weights, in
float32: where it is cut best depends on shapes, not on what was learned. Labels are its own answers, so that `accuracy` is how often
eight bits on the wire change none of them. Its cuts are tried as `isthmus partition` does. Then a device process and a cloud process in a
network namespace of its own, behind a veth pair whose sending side is shaped by `tc tbf`, answer requests all on the device, all in the
cloud, and in the way that the table says. A device runs its half --speed-factor times: it is slow by work. The round trip is added, as
netem, which delays packets, is not in every kernel. Halves are timed by the processor's clock, in the table and in the requests, and
the wire by the wall's: so other work on the machine is not taken for a slow network. Needs root for the link; without, only the model is
shown.
"""

import argparse
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from report import machine
from rich.console import Console
from rich.table import Table

from isthmus.compile.build.edge import float_model
from isthmus.compile.halves.jobs import JOBS
from isthmus.compile.halves.measured import Form, Measured
from isthmus.compile.halves.trying import Halved
from isthmus.compile.halves.ways import Plan, Situation, plan
from isthmus.partition.cuts import find_cuts
from isthmus.release.manifest import TensorSpec

SWEEP = (0.5, 1, 2, 5, 10, 20, 50, 100)
EXAMPLES = 8
RUNS = 5
ALLOWED = 1.05
PORT = 47_113
_REQUEST = struct.Struct("<II")  # the way, and how many bytes follow
_ANSWER = struct.Struct("<Idd")  # how many bytes follow, and the ms of the tail by the wall and by the processor
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
                layers.Dense(1024, activation="relu"),
                layers.Dense(1024, activation="relu"),
                layers.Dense(1000, activation="softmax"),
            ]
        )
    # Smooth pictures rather than noise: what is deflated should have what pictures have.
    coarse = np.random.default_rng(0).random((EXAMPLES, 8, 8, 3), np.float32)
    pictures = np.asarray(keras.ops.image.resize(coarse, model.input_shape[1:3], interpolation="bicubic"), np.float32).clip(0, 1)
    model.export(folder / "saved", verbose=False)
    (folder / "model.tflite").write_bytes(float_model(folder / "saved", "partition"))
    np.savez(folder / "evaluation.npz", x=pictures, y=model.predict(pictures, verbose=0).argmax(axis=1))


def tried(folder: Path, say: Any) -> tuple[Measured, list[TensorSpec], list[TensorSpec]]:
    """The cuts, as a preview tries them; with the network's inputs and outputs."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(folder / "model.tflite")).get_signature_runner()
    sides = [
        [TensorSpec(name, np.dtype(it["dtype"]).name, (-1, *map(int, it["shape"][1:]))) for name, it in side.items()]
        for side in (runner.get_input_details(), runner.get_output_details())
    ]
    job = {
        "file": str(folder / "model.tflite"),
        "evaluation": str(folder / "evaluation.npz"),
        "inputs": [asdict(spec) for spec in sides[0]],
        "outputs": [asdict(spec) for spec in sides[1]],
        "where": "partition",
    }
    return Measured.from_json(JOBS["cut"](job, say)), *sides


def processor_ms(run: Callable[[], Any]) -> float:
    """The median over a few runs, after one that warms up."""
    run()
    found = []
    for _ in range(RUNS):
        start = time.thread_time()
        run()
        found.append((time.thread_time() - start) * 1000)
    return statistics.median(found)


def timed(measured: Measured, halved: dict[int, Halved], inputs: dict[str, Any]) -> Measured:
    """With the halves' times by the processor's clock, by which requests are measured, too."""
    cuts = []
    for cut in measured.cuts:
        it = halved[cut.layers]
        features = it.features(inputs)
        head_ms = processor_ms(partial(it.head_runner.run, it.head_inputs_of(inputs))) if it.head_runner else 0.0
        forms = []
        for form in cut.forms:
            data = form.wire.encode(features)
            encode_ms, decode_ms = processor_ms(partial(form.wire.encode, features)), processor_ms(partial(form.wire.decode, data))
            forms.append(replace(form, encode_ms=encode_ms, decode_ms=decode_ms))
        cuts.append(replace(cut, head_ms=head_ms, tail_ms=processor_ms(partial(it.tail_runner.run, features)), forms=tuple(forms)))
    return replace(measured, cuts=tuple(cuts), whole_ms=cuts[0].tail_ms)


def halves(folder: Path, layers: set[int], sides: tuple[list[TensorSpec], list[TensorSpec]]) -> dict[int, Halved]:
    """Both halves of some cuts."""
    data = (folder / "model.tflite").read_bytes()
    places: dict[int, Any] = {0: None, **{cut.layers: cut for cut in find_cuts(data).cuts}}
    return {it: Halved.make(data, places[it], *sides, "partition") for it in layers}


def serve(folder: Path) -> None:
    """The cloud: reads a way's number and its bytes, runs that tail, answers with the times that it took. Ends with the connection."""
    said = json.loads((folder / "ways.json").read_text())
    ways = said["ways"]
    sides = [[TensorSpec.from_json(spec) for spec in side] for side in said["sides"]]
    tails = halves(folder, {it["layers"] for it in ways if it["layers"] is not None}, (sides[0], sides[1]))
    forms = [Form.from_json(it["form"]) if it["form"] else None for it in ways]
    with socket.create_server(("", PORT)) as server:
        print("ready", flush=True)
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as stream:
            while head := stream.read(_REQUEST.size):
                way, size = _REQUEST.unpack(head)
                form, data = forms[way], stream.read(size)
                assert form is not None  # noqa: S101
                wall, processor = time.perf_counter(), time.thread_time()
                answer = tails[ways[way]["layers"]].tail_runner.run(form.wire.decode(data))
                processor = time.thread_time() - processor
                body = b"".join(values.tobytes() for values in answer.values())
                wall = time.perf_counter() - wall
                connection.sendall(_ANSWER.pack(len(body), wall * 1000, processor * 1000) + body)


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

    def __init__(self, found: Plan, halved: dict[int, Halved], situation: Situation, address: str) -> None:
        self._plan, self._halved, self._situation = found, halved, situation
        self._socket = socket.create_connection((address, PORT))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def answer_ms(self, way: int, inputs: dict[str, Any]) -> float:
        """Processor time of both halves, and what passes on the wire by the wall's clock."""
        offer, start = self._plan.offers[way], time.thread_time()
        if offer.cut is None or offer.form is None:
            for _ in range(round(self._situation.speed_factor)):
                self._halved[0].tail_runner.run(inputs)
            return (time.thread_time() - start) * 1000
        for _ in range(round(self._situation.speed_factor)):
            data = offer.form.wire.encode(self._halved[offer.cut.layers].features(inputs))
        device_ms, sent = (time.thread_time() - start) * 1000, time.perf_counter()
        self._socket.sendall(_REQUEST.pack(way, len(data)) + data)
        size, wall_ms, processor_ms = _ANSWER.unpack(self._stream.read(_ANSWER.size))
        self._stream.read(size)
        wire_ms = (time.perf_counter() - sent) * 1000 - wall_ms
        return device_ms + wire_ms + processor_ms + self._situation.round_trip_ms


def run_link(
    folder: Path, found: Plan, halved: dict[int, Halved], situation: Situation, *, sides: Any, requests: int
) -> list[dict[str, Any]]:
    """Medians of requests that are sent in turn: all on the device, all in the cloud, and as the table says."""
    ways = [{"layers": it.cut.layers if it.cut else None, "form": asdict(it.form) if it.form else None} for it in found.offers]
    specs = [[asdict(spec) for spec in side] for side in sides]
    (folder / "ways.json").write_text(json.dumps({"ways": ways, "sides": specs}))
    pictures, name = np.load(folder / "evaluation.npz")["x"], sides[0][0].name
    rows = []
    with shaped_link() as (namespace, address, device):
        command = [sys.executable, __file__, "--serve", str(folder)]
        cloud = subprocess.Popen(["ip", "netns", "exec", namespace, *command], stdout=subprocess.PIPE, text=True)
        try:
            assert cloud.stdout is not None  # noqa: S101
            if cloud.stdout.readline().strip() != "ready":
                raise SystemExit("the cloud's process did not start")
            client = Device(found, halved, situation, address)
            for bandwidth in SWEEP:
                shape(device, bandwidth)
                best_cloud = min(found.cloud, key=lambda way, at=bandwidth: found.choice.ways[way].latency_ms(at))
                taken = {"local": found.local[0], "cloud": best_cloud, "chosen": found.choice.best(bandwidth)}
                times: dict[int, list[float]] = {way: [] for way in taken.values()}  # one that is taken twice is measured once
                for number in range(requests + 1):
                    for way, found_ms in times.items():
                        elapsed = client.answer_ms(way, {name: pictures[number % len(pictures)][None]})
                        if number:  # the first opens the connection's window and warms the caches
                            found_ms.append(elapsed)
                modelled = {kind: found.choice.ways[way].latency_ms(bandwidth) for kind, way in taken.items()}
                medians = {kind: statistics.median(times[way]) for kind, way in taken.items()}
                rows.append(
                    {"bandwidth": bandwidth, "way": found.choice.ways[taken["chosen"]].name, "modelled": modelled, "measured": medians}
                )
                print(f"{bandwidth:g} Mbit/s: done", file=sys.stderr, flush=True)
            client.close()
        finally:
            cloud.terminate()
            cloud.wait()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="alexnet")
    parser.add_argument("--requests", type=int, default=5)
    parser.add_argument("--speed-factor", type=int, default=8)
    parser.add_argument("--round-trip-ms", type=float, default=20.0)
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    if options.write:
        write_model(options.network, options.write)
        return
    console = Console(width=None if sys.stdout.isatty() else 150)
    situation = Situation(options.round_trip_ms, float(options.speed_factor), 1.0, 0.005, 0.05)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run(
            [sys.executable, __file__, "--network", options.network, "--write", str(folder)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        measured, *sides = tried(folder, lambda step: print(step, file=sys.stderr, flush=True))
        halved = halves(folder, {cut.layers for cut in measured.cuts}, (sides[0], sides[1]))
        picture = np.load(folder / "evaluation.npz")["x"][:1]
        found = timed(measured, halved, {sides[0][0].name: picture})
        chosen = plan(found, situation)
        if os.geteuid():
            console.print("no root: the link is not made, and what follows is the model's")
        rows = [] if os.geteuid() else run_link(folder, chosen, halved, situation, sides=sides, requests=options.requests)
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
