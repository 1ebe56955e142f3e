"""What a device's two processes take: memory, and time over the bare interpreter.

    PYTHONPATH=. python benchmarks/fleet_agent.py [RELEASE]

The whole program, a minute after it has been told of the release over HTTP, fetched, tried and confirmed it.

RELEASE: a folder with manifest.json, golden.json and the edge variant; the newest of this machine's cache by default.
"""

import http.client
import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tests.fleet_store import MemoryStore, served
from tests.isthmus_agent.living import Fleet, Living

ROUNDS, REQUESTS = 20, 100
SETTLE_SECONDS = 60


def megabytes(pid: int) -> dict[str, float]:
    """Rss and Pss of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("Rss:", "Pss:"))}


def child_of(pid: int) -> int:
    """The one process that serves."""
    found = [int(it) for file in Path(f"/proc/{pid}/task").glob("*/children") for it in file.read_text().split()]
    return next(it for it in found if b"isthmus_agent.server" in Path(f"/proc/{it}/cmdline").read_bytes())


def bare_ms(model: bytes, signature: str, inputs: dict[str, Any]) -> float:
    """The median of the interpreter alone, in this process."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_content=model, num_threads=1).get_signature_runner(signature)
    return median(timed(lambda: run(**inputs)) for _ in range(REQUESTS))


def timed(call: Any) -> float:
    """Milliseconds of a call."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def newest() -> Path:
    """The newest release in the cache."""
    entries = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "isthmus" / "releases" / "entries"
    return max((it for it in entries.iterdir() if (it / "edge").is_dir()), key=lambda it: it.stat().st_mtime)


def main(release: Path) -> None:
    """Prints a table."""
    from isthmus_agent.formats import bundle

    (edge,) = (release / "edge").glob("*.tflite")
    manifest, golden = (json.loads((release / name).read_bytes()) for name in ("manifest.json", "golden.json"))
    parts = {bundle.MODEL: edge.read_bytes(), bundle.GATES: b"{}"}
    parts |= {bundle.MANIFEST: (release / "manifest.json").read_bytes(), bundle.GOLDEN: (release / "golden.json").read_bytes()}
    content = bundle.join(parts)
    with TemporaryDirectory() as folder, served(MemoryStore()) as store:
        fleet = Fleet.founded(store, Path(folder) / "keys")
        device = Living(fleet, Path(folder) / "device", {"poll_seconds": 5})
        number = fleet.tell(content)
        device.start()
        print(f"{manifest['model']}, {edge.stat().st_size / 1000:.0f} kB: {fleet.await_outcome(number, 'confirmed').outcome.value}")
        manager, server, port = device.process.pid, child_of(device.process.pid), device.url.rpartition(":")[2]
        one = {name: column[:1] for name, column in golden["inputs"].items()}
        inputs = {spec["name"]: np.array(one[spec["name"]], spec["dtype"]) for spec in manifest["inputs"]}
        body = json.dumps({"inputs": one}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", int(port))

        def ask() -> None:
            connection.request("POST", f"/v1/models/{manifest['model']}:predict", body)
            reply = connection.getresponse()
            reply.read()
            if reply.status != 200:
                sys.exit(f"it answers {reply.status}")

        # Side by side, so that a machine that others use too slows both.
        rounds = []
        for _ in range(ROUNDS):
            bare = bare_ms(parts[bundle.MODEL], manifest["signature"], inputs)
            rounds.append((bare, median(timed(ask) for _ in range(REQUESTS))))
        bare, answered = (median(column) for column in zip(*rounds, strict=True))
        time.sleep(SETTLE_SECONDS)
        memory = [megabytes(manager), megabytes(server)]
        rows = [
            ("manager, RSS", f"{memory[0]['Rss']:.1f} MB", "30 MB"),
            ("server, RSS", f"{memory[1]['Rss']:.1f} MB", ""),
            ("both, PSS", f"{sum(it['Pss'] for it in memory):.1f} MB", "60 MB"),
            ("interpreter alone, p50", f"{bare:.3f} ms", ""),
            ("request and answer over a kept connection, p50", f"{answered:.3f} ms", ""),
            ("over the interpreter, p50", f"{median(b - a for a, b in rounds):.3f} ms", "0.5 ms"),
        ]
        for what, found, most in rows:
            print(f"{what:<48}{found:>12}{most and f'   at most {most}'}")
        device.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else newest())
