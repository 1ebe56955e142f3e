"""What serving costs: `python benchmarks/serving.py [--rounds N] [--requests N] [--seconds S] [--json FILE]`.

Measured with the digits model, compiled once; servers and gateway (Envoy) run as the local platform describes them:

- the gateway: one example, straight to a server and through the gateway, over REST and gRPC, one request after the other on one
  connection and at random times (`--rate`);
- replicas: 1, 2 and 3 servers behind the gateway, with 2, 8 and 32 requests at a time, beside what the same client reaches when the
  gateway answers by itself;
- the server: batches of 1, 8, 32 and 256 to it, beside the same batches given to the model in a process without a server.

What is compared takes turns, in the other order in every second round, so that a machine whose speed drifts favours nobody; ratios
are taken within a round. Shown are medians over the rounds with (smallest–largest). CPU times come from /proc/PID/stat: unlike times
of waiting, they depend little on what else the machine does. Prints tables; `--json FILE` writes every round's figures too.
"""

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from report import machine, spread
from rich.console import Console
from rich.table import Table
from serving_clients import (
    Meter,
    Turn,
    closed_loop,
    grpc_connection,
    grpc_connections,
    many_closed_loops,
    open_loop,
    rest_connection,
    rest_connections,
    warm_up,
)
from serving_in_process import SIGNATURE, WAYS, InProcess
from serving_processes import MODEL, Running, answering_gateway, gateway_to, server

from isthmus.compile import CompileRequest, compile_release
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import SERVING

REPOSITORY = Path(__file__).resolve().parents[1]
SERVERS = 3
CONCURRENCIES = (2, 8, 32)
REPLICA_EXAMPLES = (1, 32)
BATCHES = (1, 8, 32, 256)
# A turn of the closed loop: short, so that both sides see the same machine.
BLOCK_REQUESTS = 100
TOLERANCE = 1e-5
TABLE_WIDTH = 150
REST_ROWS, REST_COLUMNS, GRPC = "REST rows", "REST columns", "gRPC"

T = TypeVar("T")
# What was measured, by round: the key says what.
Rounds = list[dict[Any, Turn]]


class Stand:
    """All that is measured, running. servers, gateways: gateways[i] is in front of the first i + 1 servers."""

    def __init__(self, stack: ExitStack, scratch: Path, cache: Path) -> None:
        request = CompileRequest(MODEL, f"models/{MODEL}", "int8", base_directory=REPOSITORY)
        release = asyncio.run(compile_release(request, ReleaseCache(cache), say))
        self.images = np.load(REPOSITORY / "models" / MODEL / "evaluation.npz")["x"]
        serving = release.directory / SERVING

        def start(make: Callable[..., Running], *what: Any) -> Running:
            running = make(*what, scratch)
            stack.callback(running.close)
            return running

        say("starting servers and gateways")
        self.in_process = stack.enter_context(InProcess(serving / str(release.manifest.version), self.images))
        self.servers = [start(server, index, serving) for index in range(SERVERS)]
        for running in self.servers:
            running.wait()
        self.gateways = [start(gateway_to, self.servers[: index + 1]) for index in range(SERVERS)]
        self.bodies = {(REST_ROWS, examples): self.body("instances", examples) for examples in BATCHES}
        self.bodies |= {(REST_COLUMNS, examples): self.body("inputs", examples) for examples in BATCHES}
        self.bodies |= {(GRPC, examples): self.in_process.grpc_request(examples) for examples in BATCHES}
        self.check_answers()
        replies = {}
        for examples in REPLICA_EXAMPLES:
            with rest_connection(self.servers[0].ports["rest"], self.bodies[REST_ROWS, examples]) as call:
                replies[f"examples-{examples}"] = call()
        self.alone = start(answering_gateway, replies)
        for running in (*self.gateways, self.alone):
            running.wait()

    def body(self, form: str, examples: int) -> bytes:
        return json.dumps({form: self.images[:examples].tolist()}).encode()

    def connect(self, stack: ExitStack, way: str, running: Running, examples: int) -> Callable[[], bytes]:
        """One connection, warm."""
        port, connection = (running.ports["grpc"], grpc_connection) if way == GRPC else (running.ports["rest"], rest_connection)
        call = stack.enter_context(connection(port, self.bodies[way, examples]))
        warm_up(call)
        return call

    def check_answers(self) -> None:
        """Whatever is compared answers the same. Raises SystemExit."""
        examples = BATCHES[1]
        expected = self.in_process.answer(SIGNATURE, examples)
        found: dict[str, Any] = {way: self.in_process.answer(way, examples) for way in WAYS}
        for way, field in ((REST_ROWS, "predictions"), (REST_COLUMNS, "outputs"), (GRPC, "")):
            with ExitStack() as stack:
                answer = self.connect(stack, way, self.servers[0], examples)()
            found[way] = np.asarray(json.loads(answer)[field]) if field else self.in_process.grpc_answer(answer)
        for way, answer in found.items():
            if not np.allclose(answer, expected, atol=TOLERANCE):
                raise SystemExit(f"{way} answers something else than {SIGNATURE}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def turns(items: Iterable[T], number: int) -> list[T]:
    """The items in the order of that round."""
    ordered = list(items)
    return ordered[:: -1 if number % 2 else 1]


def measure_gateway(stand: Stand, options: argparse.Namespace, number: int) -> dict[Any, Turn]:
    """(way, closed or open loop, direct or gateway) → what was measured."""
    found: dict[Any, Turn] = {}
    direct, gateway = stand.servers[0], stand.gateways[0]
    meter = Meter({"server": [direct], "gateway": [gateway]})
    sides = (("direct", direct), ("gateway", gateway))

    async def at_random(way: str, running: Running) -> Turn:
        connect, port = (grpc_connections, running.ports["grpc"]) if way == GRPC else (rest_connections, running.ports["rest"])
        async with connect(port, stand.bodies[way, 1]) as call:
            return await open_loop(call, meter, options.rate, 4 * options.seconds, seed=number)

    for way in turns((REST_ROWS, GRPC), number):
        with ExitStack() as stack:
            calls = {side: stand.connect(stack, way, running, 1) for side, running in sides}
            for block in range(-(-options.requests // BLOCK_REQUESTS)):
                for side in turns(calls, number + block):
                    key = (way, "one by one", side)
                    found[key] = found.get(key, Turn()) + closed_loop(calls[side], meter, requests=BLOCK_REQUESTS)
        for side, running in turns(sides, number):
            found[way, f"{options.rate:g}/s", side] = asyncio.run(at_random(way, running))
    return found


def measure_replicas(stand: Stand, options: argparse.Namespace, number: int) -> dict[Any, Turn]:
    """(examples, concurrency, servers; 0: the gateway answers) → what was measured."""

    async def one(examples: int, concurrency: int, servers: int) -> Turn:
        gateway = stand.gateways[servers - 1] if servers else stand.alone
        query = "" if servers else f"?examples-{examples}"
        meter = Meter({"server": stand.servers[:servers], "gateway": [gateway]})
        async with rest_connections(gateway.ports["rest"], stand.bodies[REST_ROWS, examples], query) as call:
            return await many_closed_loops(call, meter, concurrency, options.seconds)

    cells = product(REPLICA_EXAMPLES, CONCURRENCIES)
    keys = [(*cell, servers) for cell in cells for servers in turns(range(SERVERS + 1), number)]
    return {key: asyncio.run(one(*key)) for key in keys}


def measure_server(stand: Stand, options: argparse.Namespace, number: int) -> dict[Any, Turn]:
    """(examples, way) → what was measured."""
    running = stand.servers[0]
    meter = Meter({"server": [running]})
    found: dict[Any, Turn] = {}
    for examples in BATCHES:
        with ExitStack() as stack:
            measure: dict[str, Callable[[], Turn]] = {
                way: partial(stand.in_process.closed_loop, way, examples, options.seconds) for way in WAYS
            }
            for way in (REST_ROWS, REST_COLUMNS, GRPC):
                call = stand.connect(stack, way, running, examples)
                measure[way] = partial(closed_loop, call, meter, seconds=options.seconds)
            for way in turns(measure, number):
                found[examples, way] = measure[way]()
    return found


def middle(rounds: Rounds, key: Any, figure: Callable[[Turn], float], digits: int = 2) -> str:
    return f"{statistics.median(figure(found[key]) for found in rounds):.{digits}f}"


def cpu_ms(name: str) -> Callable[[Turn], float]:
    return lambda turn: turn.cpu_ms(name)


def new_table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left")


def gateway_table(rounds: Rounds) -> Table:
    p50, p99 = (("p50 ms direct", "gateway", "ratio"), ("p99 ms direct", "gateway", "ratio"))
    table = new_table("Through the gateway against direct, one example", "", "requests", *p50, *p99, "CPU ms: server", "gateway")
    for way, loop in dict.fromkeys(key[:2] for key in rounds[0]):
        direct, gateway = (way, loop, "direct"), (way, loop, "gateway")
        cells = []
        for percent in (50, 99):
            both = [(found[direct].percentile_ms(percent), found[gateway].percentile_ms(percent)) for found in rounds]
            cells += [f"{statistics.median(figures):.2f}" for figures in zip(*both, strict=True)]
            cells.append(spread([through / straight for straight, through in both]))
        requests = sum(len(found[gateway].latencies_ms) for found in rounds)
        cpu = (middle(rounds, gateway, cpu_ms(name)) for name in ("server", "gateway"))
        table.add_row(f"{way.partition(' ')[0]}, {loop}", str(requests), *cells, *cpu)
    return table


def replicas_table(rounds: Rounds) -> Table:
    title = (
        "Servers behind the gateway, REST; CPU in ms for each request. 0 servers: the gateway answers by itself, all that the client can do"
    )
    cpu, cores = ("CPU: servers", "gateway", "client"), ("cores: ours", "others'")
    table = new_table(title, "examples", "at a time", "servers", "requests/s", "ratio to 1 server", "p50 ms", *cpu, *cores)
    for key in sorted(rounds[0]):
        examples, concurrency, servers = key
        rates = [found[key].per_second for found in rounds]
        ratios = [rate / found[examples, concurrency, 1].per_second for rate, found in zip(rates, rounds, strict=True)]
        table.add_row(
            *map(str, key),
            *(spread(rates, 0), spread(ratios), middle(rounds, key, lambda turn: turn.percentile_ms(50), 1)),
            *(middle(rounds, key, cpu_ms(name)) for name in ("server", "gateway", "client")),
            *(
                middle(rounds, key, cores)
                for cores in (lambda turn: turn.cores("server", "gateway", "client"), lambda turn: turn.cores("others"))
            ),
            end_section=servers == SERVERS,
        )
    return table


def capacity_lines(rounds: Rounds) -> Iterator[str]:
    """What the CPU times say about machines with more cores than this one: figures for one core each."""
    for examples in REPLICA_EXAMPLES:
        turns_of_one = [found[examples, CONCURRENCIES[-1], 1] for found in rounds]
        server_ms, gateway_ms = (statistics.median(turn.cpu_ms(name) for turn in turns_of_one) for name in ("server", "gateway"))
        yield (
            f"Requests of {examples}: one core of a server answers {1000 / server_ms:.0f}/s, one core of the gateway passes on "
            f"{1000 / gateway_ms:.0f}/s: what {server_ms / gateway_ms:.1f} such servers answer."
        )


def server_table(rounds: Rounds) -> Table:
    title = f"The server against the model in process, one call after the other; ratios to {SIGNATURE!r}"
    columns = ("p50 ms", "ratio", "examples/s", "ratio", "CPU ms for each example", "ratio")
    table = new_table(title, "examples", "way", *columns)
    for key in rounds[0]:
        examples, way = key
        figures: tuple[tuple[Callable[[Turn], float], int], ...] = (
            (lambda turn: turn.percentile_ms(50), 2),
            (lambda turn, examples=examples: turn.per_second * examples, 0),  # type: ignore[misc]
            (lambda turn, examples=examples: turn.cpu_ms("server") / examples, 3),  # type: ignore[misc]
        )
        cells = []
        for figure, digits in figures:
            ratios = [figure(found[key]) / figure(found[examples, SIGNATURE]) for found in rounds]
            cells += [middle(rounds, key, figure, digits), spread(ratios)]
        table.add_row(str(examples), way, *cells, end_section=way == GRPC)
    return table


def report(found: dict[str, Rounds]) -> dict[str, Any]:
    """Every round's figures, for JSON. cpu_seconds: by who took them; "others": whatever else ran."""

    def figures(turn: Turn) -> dict[str, Any]:
        latencies = {f"p{percent}_ms": turn.percentile_ms(percent) for percent in (50, 99)}
        requests = {"requests": len(turn.latencies_ms), "seconds": turn.seconds, "requests_per_second": turn.per_second}
        return {**requests, **latencies, "cpu_seconds": turn.cpu_seconds}

    return {
        section: [{"what": list(key), "rounds": [figures(it[key]) for it in rounds]} for key in rounds[0]]
        for section, rounds in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=800, help="of each kind in a round, one by one")
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second at random times")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one turn; at random times: four times as long")
    parser.add_argument("--cache", type=Path, help="where the compiled model is kept; default: a folder that is removed")
    parser.add_argument("--json", type=Path, help="where the figures are written too")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whatever was started is ended then too
    sections = {"gateway": measure_gateway, "replicas": measure_replicas, "server": measure_server}
    found: dict[str, Rounds] = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stand = Stand(stack, scratch, options.cache or scratch / "cache")
        for section, measure in sections.items():
            found[section] = []
            for number in range(options.rounds):
                say(f"{section}: round {number + 1} of {options.rounds}")
                found[section].append(measure(stand, options, number))
    console = Console(width=max(Console().width, TABLE_WIDTH), highlight=False)
    console.print(f"{datetime.now(UTC).date()}, {machine()}; {options.rounds} rounds")
    lines = capacity_lines(found["replicas"])
    console.print(gateway_table(found["gateway"]), replicas_table(found["replicas"]), *lines, server_table(found["server"]), sep="\n")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), **report(found)}, indent=1))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
