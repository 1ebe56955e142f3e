"""What `isthmus batch` does: finds the servers, runs the job under bars, and reports predicted against real."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from isthmus.cli.commands.batch.files import Answers, file_problems, open_examples, open_partial
from isthmus.cli.commands.batch.job import Done, Job
from isthmus.cli.commands.batch.options import Options
from isthmus.cli.commands.predict.asking import refusal
from isthmus.errors import InputError, PlatformError, Problem
from isthmus.observing.parts import Outputs
from isthmus.observing.reach import Client, Direct, Server
from isthmus.observing.stack_state import StackState, read_stack
from isthmus.platforms.registry import observer_of
from isthmus_agent.protocol import DEFAULT_SIGNATURE

console = Console()


@dataclass(frozen=True)
class Targets:
    """Who scores. release: digest, empty where nobody says. rate_per_second: of a server of speed 1 by the record; None: unknown."""

    model: str
    servers: tuple[Server, ...]
    release: str = ""
    rate_per_second: float | None = None


def score(options: Options) -> None:
    """Does what the command says. Raises InputError with all that is wrong with it, PlatformError, ResourceFullError."""
    client = Client(options.api_key, "", options.ca)
    problems = [*client.problems(), *file_problems(options.input, options.output)]
    if options.capacities not in ("measured", "declared"):
        problems.append(Problem("--capacities", f"is {options.capacities!r}", "measured or declared"))
    given = _given_servers(options.servers or [], client, problems)
    if problems:
        raise InputError(problems)
    targets = Targets(options.model, given) if given else of_stack(read_stack(options.stack), options.model, client)
    targets, signature, absent = ready(targets)
    for note in (*absent, *(server.note for server in targets.servers if server.note)):
        console.print(f"[yellow]note:[/yellow] {escape(note)}", highlight=False, soft_wrap=True)
    with open_partial(options.output, resume=options.resume) as folder:
        examples = open_examples(options.input, signature, folder)
        answers = Answers(options.output, folder, examples, signature, targets.release, resume=options.resume)
        job = Job(
            f"v1/models/{targets.model}",
            targets.servers,
            examples,
            answers,
            rates=declared_rates(targets) if options.capacities == "declared" else None,
            measure_seconds=options.measure_seconds,
            chunk_rows=options.chunk_rows,
        )
        done = _run_shown(job, answers, examples.rows)
        answers.finish()
    console.print(report(done, is_rate_known=options.capacities == "measured" or targets.rate_per_second is not None))


def _given_servers(texts: Sequence[str], client: Client, problems: list[Problem]) -> tuple[Server, ...]:
    """What --servers names; what is wrong with it goes to the problems."""
    found: dict[str, Server] = {}
    for index, text in enumerate(texts):
        url, _, speed = text.rpartition("=") if "=" in text else (text, "", "1")
        path = f"--servers[{index}]"
        try:
            value = float(speed)
        except ValueError:
            value = 0.0
        if not 1e-9 <= value <= 1e9:
            problems.append(Problem(path, f"a speed of {speed}", "a number above 0, such as 2.5"))
        url = url.rstrip("/")
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc or "/v1/" in url:
            problems.append(Problem(path, f"{url!r} is no server's address", "http://HOST:PORT"))
        if url in found:
            problems.append(Problem(path, f"{url} is named twice", "each server once"))
        found[url] = Server(url.partition("://")[2], Direct(url, client.headers(), client.ca), value)
    return tuple(found.values())


def of_stack(state: StackState, model: str, client: Client) -> Targets:
    """The servers of the one service that has this name, or this model. Raises InputError, PlatformError."""
    services = state.services()
    names = [model] if model in services else [name for name, it in services.items() if it["model_name"] == model]
    if len(names) != 1:
        what = f"has no service or model {model!r}" if not names else f"has several services with model {model!r}"
        known = ", ".join(sorted(names or services)) or "a stack with services"
        raise InputError([Problem("MODEL", f"stack {state.name!r} {what}", f"one of {known}")])
    outputs: Outputs = services[names[0]]
    found = observer_of(outputs).servers(names[0], outputs, state, client)
    rate = (outputs.get("plan") or {}).get("service_rate_per_second")
    return Targets(str(outputs["model_name"]), tuple(found), str(outputs["digest"]), None if rate is None else float(rate))


def ready(targets: Targets) -> tuple[Targets, Mapping[str, Any], list[str]]:
    """Those that have the model and answer, what the model takes and gives, and who was left out.

    Raises PlatformError where nobody is ready.
    """
    with ThreadPoolExecutor(max_workers=16) as pool:
        asked = list(pool.map(lambda server: _described(server, targets.model), targets.servers))
    here = [(server, it) for server, it in zip(targets.servers, asked, strict=True) if not isinstance(it, str)]
    absent = [f"{server.name} is left out: {it}" for server, it in zip(targets.servers, asked, strict=True) if isinstance(it, str)]
    if not here:
        raise PlatformError("\n".join(["no server is ready. Fix: see `isthmus status`", *absent]))
    return replace(targets, servers=tuple(server for server, _ in here)), here[0][1], absent


def _described(server: Server, model: str) -> Mapping[str, Any] | str:
    """The model's signature, or why there is none."""
    try:
        reply = server.way.call(f"v1/models/{model}/metadata")
        if reply.status != 200:
            return refusal(reply)
        found: Mapping[str, Any] = reply.json()["metadata"]["signature_def"]["signature_def"][DEFAULT_SIGNATURE]
        return {"inputs": found["inputs"], "outputs": found["outputs"]}
    except PlatformError as error:
        return str(error)
    except (ValueError, KeyError, TypeError):
        return "what answers is no model server"


def declared_rates(targets: Targets) -> dict[str, float]:
    """Rows per second by server, one row a request as the record has it; without a record, in proportion only."""
    return {server.name: server.speed * (targets.rate_per_second or 1.0) for server in targets.servers}


def _run_shown(job: Job, answers: Answers, rows: int) -> Done:
    """Runs it under bars, one a server."""
    before = rows - job.rows
    bars = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bars, console=console, transient=True, disable=not console.is_terminal) as progress:
        whole = progress.add_task("rows", total=rows, completed=before)
        rest = {name: progress.add_task(escape(name), total=None) for name in job.works}

        def look() -> None:
            progress.update(whole, completed=before + sum(work.rows for work in job.works.values()))
            for name, work in job.works.items():
                label = f"[red]{escape(name)} (lost)[/red]" if work.lost else escape(name)
                progress.update(rest[name], description=label, completed=work.rows, total=work.planned_rows)

        try:
            return job.run(look)
        except (PlatformError, KeyboardInterrupt) as error:
            done = sum(stop - start for start, stop in answers.done)
            kept = f"\n{done} of {rows} rows are done and kept. Fix: mend the cause, then run the same command with --resume"
            raise PlatformError(f"{error if isinstance(error, PlatformError) else 'interrupted'}{kept if done else ''}") from None


def report(done: Done, *, is_rate_known: bool) -> Group:
    """Predicted against real, by server and as a whole. is_rate_known: else rates are proportions, and predict no seconds."""
    table = Table("server", "rows/s predicted", "real", "rows planned", "done", "seconds predicted", "real", box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for work in done.works:
        real = work.rows / work.seconds if work.seconds else 0.0
        predicted = [_number(value if is_rate_known else None) for value in (work.rate_per_second, work.planned_seconds)]
        planned = "" if work.planned_rows is None else str(work.planned_rows)
        name = Text(work.server.name)
        name.append(" (lost)" if work.lost else "", style="red")
        table.add_row(name, predicted[0], _number(real), planned, str(work.rows), predicted[1], _number(work.seconds))
    lines = [f"{done.rows} rows in {_number(done.seconds)} s"]
    plans = [each for each in done.plans if not each.is_correction]
    for each in plans:
        text = f"split at {_number(each.at_seconds)} s ({each.why})"
        if is_rate_known:
            text += f": predicted makespan {_number(each.makespan_seconds)} s"
            equal = each.plan.equal_split_seconds
            text += f", an equal split {_number(each.at_seconds + equal)} s" if equal is not None else ""
        lines.append(text)
    if corrections := len(done.plans) - len(plans):
        lines.append(f"rates changed: {corrections} times a server was done early and got rows of the others")
    if not plans:
        lines.append("done while the capacities were measured: each server took the next rows as it got free")
    elif is_rate_known and plans[-1].makespan_seconds:
        lines.append(f"real makespan over predicted: {done.seconds / plans[-1].makespan_seconds:.2f}")
    lines += [f"{work.server.name} was lost: {work.lost}" for work in done.works if work.lost]
    return Group(table, *(Text(line) for line in lines))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
