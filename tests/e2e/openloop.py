"""An open-loop client: requests leave at their times (Poisson), whether or not earlier ones were answered. Run as a script.

It ends after `--seconds`, or sooner on SIGTERM, and then prints one line of JSON: how many requests, what failed (reason → count),
who answered, and latencies in ms. Requests are bounded by rate × seconds and by MOST_REQUESTS. Nothing is tried again.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp

MOST_REQUESTS = 200_000
TIMEOUT_SECONDS = 30


async def drive(given: argparse.Namespace) -> dict:
    """Sends the load. Returns what the script prints."""
    headers = {"Content-Type": "application/json", **dict(item.split("=", 1) for item in given.header)}
    body, rate_per_second = given.body.read_bytes(), given.rate
    dice, loop, stop = random.Random(given.seed), asyncio.get_running_loop(), asyncio.Event()  # noqa: S311
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    failures: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    times_ms: list[float] = []
    lateness_ms: list[float] = []

    async def ask(session: aiohttp.ClientSession) -> None:
        start = time.perf_counter()
        try:
            async with session.post(given.url, data=body, headers=headers) as reply:
                text = await reply.read()
                if reply.status == 200:
                    times_ms.append((time.perf_counter() - start) * 1000)
                    answers[reply.headers.get("isthmus-track", "")] += 1
                else:
                    failures[f"HTTP {reply.status}: {text[:120].decode(errors='replace')}"] += 1
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failures[f"{type(error).__name__}: {str(error)[:120]}"] += 1

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        tasks: set[asyncio.Task[None]] = set()
        begin = due = time.perf_counter()
        sent = 0
        while not stop.is_set() and sent < MOST_REQUESTS and due - begin < given.seconds:
            pause = due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            lateness_ms.append(max(0.0, (time.perf_counter() - due) * 1000))
            task = asyncio.create_task(ask(session))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
            due += dice.expovariate(rate_per_second)
        if tasks:
            await asyncio.wait(tasks)
    times_ms.sort()
    quantile = {f"p{q}_ms": times_ms[min(len(times_ms) - 1, int(len(times_ms) * q / 100))] for q in (50, 95, 99)} if times_ms else {}
    return {
        "sent": sent,
        "answered": len(times_ms),
        "failures": dict(failures),
        "tracks": dict(answers),
        "seconds": time.perf_counter() - begin,
        "most_late_ms": max(lateness_ms, default=0.0),
        "mean_ms": sum(times_ms) / len(times_ms) if times_ms else None,
        **quantile,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--body", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--header", action="append", default=[], help="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=1)
    json.dump(asyncio.run(drive(parser.parse_args())), sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
