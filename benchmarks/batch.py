"""A batch job over servers of unequal speed: `python benchmarks/batch.py [--rounds N] [--rows N] [--shares 0.4 0.2 0.1]`.

Three embedded servers with the digits model, as the local platform starts them, each slowed down to a share of one core
(`throttle.py`). `isthmus batch` scores the same file in turns by three splits: equal parts; formula 2 with the declared speeds;
formula 2 with the speeds that it measures itself. An equal split ends with the slowest server, so formula 2 says what it takes more:
max(T/3 / c_i) over T / Σc. Ratios are taken within a round. No split is
corrected while it runs, so that each shows what it is worth by itself. Also: a server that is killed in the middle of a job.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from report import spread
from rich.console import Console
from rich.table import Table
from serving_processes import MODEL, Running, server
from throttle import in_turn

from isthmus.cli.commands.batch.files import Answers, open_examples, open_partial
from isthmus.cli.commands.batch.job import Done, Job
from isthmus.cli.commands.batch.scoring import Targets, declared_rates, ready
from isthmus.compile import CompileRequest, compile_release
from isthmus.observing.reach import Direct, Server
from isthmus.release.cache import ReleaseCache, default_cache_directory
from isthmus.release.manifest import SERVING
from isthmus.sizing.formulas.allocation import divide_units

REPOSITORY = Path(__file__).resolve().parents[1]
WAYS = ("equal split", "declared speeds", "measured speeds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.4, 0.2, 0.1])
    options = parser.parse_args()
    request = CompileRequest(MODEL, f"models/{MODEL}", "int8", base_directory=REPOSITORY)
    release = asyncio.run(compile_release(request, ReleaseCache(default_cache_directory()), print))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scratch = Path(folder)
        running = [server(index, release.directory / SERVING, scratch) for index in range(len(options.shares))]
        for one in running:
            stack.callback(one.close)
            one.wait()
        stack.enter_context(in_turn({one.pid: share for one, share in zip(running, options.shares, strict=True)}))
        with np.load(REPOSITORY / "models" / MODEL / "evaluation.npz") as data:
            images = data["x"]
        np.save(scratch / "big.npy", np.resize(images, (options.rows, *images.shape[1:])))
        turns(running, options.shares, options.rounds, scratch)
        lost(running, options.shares, scratch)


def turns(running: Sequence[Running], shares: Sequence[float], rounds: int, scratch: Path) -> None:
    """Each way in turn, in the other order in every second round."""
    found: dict[str, list[Done]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS if number % 2 == 0 else WAYS[::-1]:
            found[way].append(job(way, running, shares, scratch))
    declared = divide_units(found[WAYS[0]][0].rows, shares)
    title = f"{datetime.now(UTC).date()}, {rounds} rounds, {found[WAYS[0]][0].rows:,} rows, servers of {shares} cores"
    table = Table("split", "s (least–most)", "real over predicted", "equal split over it: predicted", "real", title=title)
    for way in WAYS:
        seconds = [done.seconds for done in found[way]]
        ratios = [equal.seconds / done.seconds for equal, done in zip(found[WAYS[0]], found[way], strict=True)]
        plans = [done.plans[-1] for done in found[way]]
        accuracy, predicted = "", ""
        if way == WAYS[1]:
            predicted = f"{(declared.equal_split_seconds or 0) / declared.makespan_seconds:.2f}"
        if way == WAYS[2]:
            accuracy = spread([done.seconds / plan.makespan_seconds for done, plan in zip(found[way], plans, strict=True)])
            predicted = spread([sum(plan.rates.values()) / len(shares) / min(plan.rates.values()) for plan in plans])
        table.add_row(way, spread(seconds), accuracy, predicted, "" if way == WAYS[0] else spread(ratios))
    Console(width=140).print(table)


def lost(running: Sequence[Running], shares: Sequence[float], scratch: Path) -> None:
    """The second server is killed after a third of the time that the whole job is predicted to take."""
    killed_at: list[float] = []

    def look(running_job: Job) -> None:
        plan = running_job.plans[0] if running_job.plans else None
        if plan and not killed_at and time.monotonic() - begin > plan.makespan_seconds / 3:
            os.kill(running[1].pid, 9)
            killed_at.append(time.monotonic() - begin)

    begin = time.monotonic()
    done = job(WAYS[2], running, shares, scratch, look=look)
    table = Table("split", "at s", "predicted end s", title=f"a server killed after {killed_at[0]:.1f} s; done after {done.seconds:.1f} s")
    for plan in done.plans:
        table.add_row(plan.why.replace(done.works[1].server.name, "server 1"), f"{plan.at_seconds:.1f}", f"{plan.makespan_seconds:.1f}")
    Console(width=140).print(table)


def job(way: str, running: Sequence[Running], shares: Sequence[float], scratch: Path, look: Callable[[Job], None] = lambda _: None) -> Done:
    """One job, whose answers are checked: as many as rows, and the same whoever gave them."""
    speeds = [1.0] * len(shares) if way == WAYS[0] else shares
    servers = tuple(
        Server(f"server-{i}", Direct(f"http://127.0.0.1:{it.ports['rest']}"), s)
        for i, (it, s) in enumerate(zip(running, speeds, strict=True))
    )
    targets, signature, _ = ready(Targets(MODEL, servers))
    output = scratch / f"{way.replace(' ', '-')}.npy"
    with open_partial(output, resume=False) as folder:
        examples = open_examples(scratch / "big.npy", signature, folder)
        answers = Answers(output, folder, examples, signature, "", resume=False)
        rates = None if way == WAYS[2] else declared_rates(targets)
        running_job = Job(f"v1/models/{MODEL}", servers, examples, answers, rates=rates, corrects=False)
        done = running_job.run(lambda: look(running_job))
        answers.finish()
    if not done.plans:
        raise SystemExit("done before the speeds were measured: give more --rows")
    first = scratch / f"{WAYS[0].replace(' ', '-')}.npy"
    if not np.allclose(np.load(output, mmap_mode="r"), np.load(first, mmap_mode="r"), atol=1e-5):
        raise SystemExit(f"the answers of the {way} differ")
    return done


if __name__ == "__main__":
    main()
