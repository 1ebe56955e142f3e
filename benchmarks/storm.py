"""A storm of devices after an outage, with and without admission: `python benchmarks/storm.py [--seconds S] [--rounds N] [--json FILE]`.

1,000 devices (`storm_devices.py`) come back to a service at one moment, all of them unsure. The service is sized by the planner for its own
clients and for the 99 % quantile of what the devices send; all at once is more than it has. Its clients send at random times, whatever the
answers do. Two Envoys stand before the same embedded servers: one lets in as many requests of devices as the plan says, one does not tell
them apart. In each round: no devices, then the storm at the one, then at the other, in turns.

The model waits instead of computing (`paced_model.py`): two cores could not keep the servers busy otherwise.
"""

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import numpy as np
import paced_model
from report import machine, spread
from rich.console import Console
from rich.table import Table

from isthmus import gateway as g
from isthmus.provider.local.ports import choose
from isthmus.sizing.offload import Offload
from isthmus.sizing.service import ServiceInputs, ServicePlan, plan_service

WORK_MS, P95_MS = 20.0, 150.0
CLIENTS_PER_SECOND = 60.0
DEVICES, DEVICE_PER_SECOND, UNSURE_SHARE = 1000, 0.2, 0.08
# What the server and the gateway take beside the model's own wait.
OVERHEAD_MS = 5.0
STARTED_SECONDS = 180.0
QUIET, WITH, WITHOUT = "no devices", "storm, with admission", "storm, without"


@dataclass
class Clients:
    """What the service's own clients saw: times of all answers in ms, and failures."""

    times_ms: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


async def clients(url: str, seconds: float, seed: int) -> Clients:
    """Requests at random times for so long, whatever the answers do."""
    found, draw = Clients(), random.Random(seed)  # noqa: S311

    async def one(session: aiohttp.ClientSession, work_ms: float) -> None:
        began = time.perf_counter()
        try:
            async with session.post(url, json={"instances": [[work_ms]]}) as reply:
                await reply.read()
        except (TimeoutError, aiohttp.ClientError) as error:
            found.failures[type(error).__name__] += 1
            return
        if reply.ok:
            found.times_ms.append(1000 * (time.perf_counter() - began))
        else:
            found.failures[str(reply.status)] += 1

    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session, asyncio.TaskGroup() as tasks:
        end = time.monotonic() + seconds
        while (pause := draw.expovariate(CLIENTS_PER_SECOND)) < end - time.monotonic():
            await asyncio.sleep(pause)
            tasks.create_task(one(session, draw.expovariate(1 / WORK_MS)))
    return found


def plan() -> ServicePlan:
    offload = Offload(DEVICES, UNSURE_SHARE)
    rate = 1000 / (WORK_MS + OVERHEAD_MS)
    return plan_service(
        ServiceInputs(CLIENTS_PER_SECOND, P95_MS, rate, edge_requests_per_second=DEVICES * DEVICE_PER_SECOND, offload=offload)
    )


@contextmanager
def process(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        running = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        running.terminate()
        running.wait(60)


def wait_for(url: str, seconds: float = STARTED_SECONDS) -> None:
    """Until it answers a prediction."""

    async def ask() -> None:
        end = time.monotonic() + seconds
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < end:
                try:
                    async with session.post(url, json={"instances": [[1.0]]}) as reply:
                        if reply.ok:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.2)
        raise SystemExit(f"{url} does not answer")

    asyncio.run(ask())


def calm(url: str) -> None:
    """Until what was left of a storm has been worked off: so many requests in a row are answered quickly."""

    async def ask() -> None:
        quick, end = 0, time.monotonic() + STARTED_SECONDS
        async with aiohttp.ClientSession() as session:
            while quick < 20 and time.monotonic() < end:
                began = time.perf_counter()
                async with session.post(url, json={"instances": [[1.0]]}) as reply:
                    await reply.read()
                quick = quick + 1 if reply.ok and time.perf_counter() - began < P95_MS / 1000 else 0

    asyncio.run(ask())


@contextmanager
def service(folder: Path, planned: ServicePlan) -> Iterator[dict[str, str]]:
    """The servers, and the two gateways before them: what it is → URL of the predict call."""
    paced_model.write_model(folder / "models" / "1")
    with ExitStack() as stack:
        servers = []
        for number in range(planned.replicas):
            rest, grpc = choose(()), choose(())
            command = [sys.executable, "-m", "isthmus.server", f"--rest_api_port={rest}", f"--port={grpc}"]
            command += [f"--model_name={paced_model.NAME}", f"--model_base_path={folder / 'models'}", "--max_num_load_retries=0"]
            stack.enter_context(process(command, folder / f"server-{number}.log"))
            servers.append(g.Server("127.0.0.1", rest, grpc))
        found = {}
        for name, device_requests in ((WITH, planned.device_requests), (WITHOUT, 0)):
            place = folder / f"gateway-{device_requests}"
            place.mkdir()
            gateway = g.Gateway(
                node="storm",
                model_name=paced_model.NAME,
                tracks=(g.Track("stable", 0, tuple(servers)),),
                rest_port=choose(()),
                grpc_port=choose(()),
                admin_port=choose(()),
                directory=str(place),
                traffic_directory=str(place),
                options=g.GatewayOptions(workers=1, device_requests=device_requests),
            )
            for file, text in {**g.static_files(gateway), **g.live_files(gateway), **g.routes_of(gateway)}.items():
                (place / file).write_text(text)
            command = g.command(gateway, str(place / "envoy.json"))
            stack.enter_context(process([str(Path(sys.executable).parent / command[0]), *command[1:]], place / "log"))
            found[name] = f"http://127.0.0.1:{gateway.rest_port}{paced_model.PREDICT}"
        for server in servers:
            wait_for(f"http://127.0.0.1:{server.rest_port}{paced_model.PREDICT}")
        for url in found.values():
            wait_for(url)
        yield {QUIET: found[WITH], **found}


def measure(url: str, devices: int, seconds: float, seed: int) -> dict[str, object]:
    """Clients and devices at one gateway for so long."""
    command = [sys.executable, str(Path(__file__).with_name("storm_devices.py")), url]
    command += [str(it) for it in (devices, DEVICE_PER_SECOND, seconds, WORK_MS, seed)]
    fleet = subprocess.Popen(command, stdout=subprocess.PIPE, text=True) if devices else None
    seen = asyncio.run(clients(url, seconds, seed))
    came = json.loads(fleet.communicate(timeout=STARTED_SECONDS)[0]) if fleet else {}
    calm(url)
    times = np.array(seen.times_ms)
    percentiles = {f"p{it}_ms": float(np.percentile(times, it)) for it in (50, 95, 99)}
    return {**percentiles, "answers": len(times), "failures": dict(seen.failures), "devices": came}


def table(found: dict[str, list[dict[str, object]]], planned: ServicePlan) -> Table:
    """Medians over the rounds (least–most)."""
    head = ("", "clients: p50 ms", "p95 ms", "p99 ms", "failed", "devices: by the cloud", "turned away", "timed out", "not asked")
    shown = Table(
        *head, title=f"{planned.replicas} servers, {planned.device_requests} requests of devices at a time; objective {P95_MS:g} ms"
    )
    kinds = ("the cloud's answer", "own answer, turned away at once", "own answer after a timeout", "own answer, cloud not asked")
    for name, rounds in found.items():
        times = [spread([it[key] for it in rounds], 0) for key in ("p50_ms", "p95_ms", "p99_ms")]  # type: ignore[misc]
        failed = sum(sum(it["failures"].values()) for it in rounds)  # type: ignore[attr-defined]
        came = [f"{statistics.median(it['devices'].get(kind, 0) for it in rounds):.0f}" for kind in kinds]  # type: ignore[attr-defined]
        shown.add_row(name, *times, str(failed), *came)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each storm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where the figures are written too")
    options = parser.parse_args()
    planned = plan()
    print(planned.explain())
    found: dict[str, list[dict[str, object]]] = {QUIET: [], WITH: [], WITHOUT: []}
    with tempfile.TemporaryDirectory() as folder, service(Path(folder), planned) as urls:
        measure(urls[QUIET], 0, 5, 0)  # warm-up
        for turn in range(options.rounds):
            for name, url in urls.items():
                found[name].append(measure(url, 0 if name == QUIET else DEVICES, options.seconds, turn + 1))
                print(name, found[name][-1], file=sys.stderr)
    Console(width=170).print(f"{datetime.now(UTC).date()}, {machine()}", table(found, planned))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "runs": found}, indent=1))


if __name__ == "__main__":
    main()
