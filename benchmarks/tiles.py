"""One large input in tiles over devices of unequal speed, against the fastest of them alone and against formula 2's prediction:
`PYTHONPATH=. python benchmarks/tiles.py [--rounds N] [--broker amqtt|mosquitto]`.

Real members (`isthmus_agent.bus`), each a process of its own, on a real broker with TLS on loopback. A device's work is emulated: a tile
takes it the time that its speed says, in which it sleeps, one tile at a time. So the figures are of dividing, of the bus and of joining,
and not of a device's arithmetic, and two cores do for any number of devices. Who asks is a device more, which does no tiles.
"""

import argparse
import itertools
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from report import machine, spread
from rich.console import Console
from rich.table import Table
from tests.isthmus_agent.bus.brokers import PASSWORDS, RunningBroker
from tests.isthmus_agent.bus.device import GROUP

from isthmus.provider.local.certificates import for_loopback
from isthmus_agent.bus.link import Broker
from isthmus_agent.bus.member import Member
from isthmus_agent.core.dividing import divide
from isthmus_agent.formats.passing import Outcome
from isthmus_agent.group.core import Core
from isthmus_agent.group.settings import Settings

TILES = 140
TILE_BYTES = 3000
WORK = 1000
"""Per 1,000 tiles: a device of capacity c (per 1,000 s) does c / WORK tiles a second."""
# Tiles a second of each device; the first is the fastest.
SHAPES = {"4 : 2 : 1": {"a": 40, "b": 20, "c": 10}, "1 : 1 : 1": {"a": 20, "b": 20, "c": 20}, "5 : 4": {"a": 25, "b": 20}}
STARTS = itertools.count(1)


def member(name: str, port: int, ca_file: str, per_second: float, start: int, *, is_5: bool) -> Member:
    """A device that takes 1 / per_second for a tile, in a thread that waits meanwhile."""
    waiting: queue.SimpleQueue = queue.SimpleQueue()

    def serve() -> None:
        while True:
            key, payload = waiting.get()
            time.sleep(1 / per_second)
            made.done(key, Outcome.DONE, payload)

    broker = Broker(host="127.0.0.1", user=name, password=PASSWORDS[name], ca_file=Path(ca_file), port=port, speaks_5=is_5)
    core = Core(name, start, round(WORK * per_second), Settings())
    made = Member(GROUP, broker, core, lambda key, stream, payload: waiting.put((key, payload)))
    threading.Thread(target=serve, daemon=True).start()
    made.start()
    return made


def spawned(broker: RunningBroker, ca_file: Path, name: str, per_second: float) -> subprocess.Popen[bytes]:
    options = [broker.port, ca_file, per_second, next(STARTS), int(broker.speaks_5)]
    return subprocess.Popen([sys.executable, __file__, "--device", name, *map(str, options)])


def settled(asks: Member, names: set[str]) -> None:
    while set(asks.status()["members"]) != names:
        time.sleep(0.02)


def seconds(asks: Member) -> float:
    tiles = [bytes(TILE_BYTES)] * TILES
    start = time.perf_counter()
    joined = asks.split(tiles, WORK, 60.0).result(timeout=60)
    took = time.perf_counter() - start
    if joined != tuple(tiles):
        raise SystemExit("what was joined is not what was split")
    return took


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--broker", choices=["amqtt", "mosquitto"], default="mosquitto")
    options = parser.parse_args()
    heads = ("speeds", "fastest alone, s", "formula 2 says, s", "took, s", "against formula 2", "times faster, said", "times faster")
    table = Table(*heads, title=machine())
    with tempfile.TemporaryDirectory() as folder:
        found, place = for_loopback(), Path(folder)
        certificate, key = place / "certificate.pem", place / "key.pem"
        certificate.write_text(found.certificate_pem)
        key.write_text(found.private_pem)
        broker = RunningBroker(options.broker, place, certificate, key)
        broker.start()
        asks = member("asks", broker.port, str(certificate), 0, next(STARTS), is_5=broker.speaks_5)
        try:
            for shape, speeds in SHAPES.items():
                table.add_row(shape, *measured(asks, broker, certificate, speeds, options.rounds))
        finally:
            asks.close()
            broker.kill()
    Console(width=150).print(table)


def measured(asks: Member, broker: RunningBroker, certificate: Path, speeds: dict[str, float], rounds: int) -> list[str]:
    predicted = divide(TILES, list(speeds.values()), [0.0] * len(speeds)).makespan_seconds
    processes: dict[str, subprocess.Popen[bytes]] = {}
    fastest = next(iter(speeds))
    try:
        took = []
        for names in ([fastest], [*speeds]):
            processes |= {name: spawned(broker, certificate, name, speeds[name]) for name in names if name not in processes}
            settled(asks, set(names))
            took.append([seconds(asks) for _ in range(rounds)])
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
        settled(asks, set())
    alone, together = took
    off = statistics.median(together) / predicted - 1
    said = TILES / speeds[fastest] / predicted
    faster = statistics.median(alone) / statistics.median(together)
    return [spread(alone), f"{predicted:.2f}", spread(together), f"{100 * off:+.1f} %", f"{said:.2f}", f"{faster:.2f}"]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--device"]:
        name, port, ca_file, per_second, start, is_5 = sys.argv[2:]
        member(name, int(port), ca_file, float(per_second), int(start), is_5=is_5 == "1")
        threading.Event().wait()
    main()
