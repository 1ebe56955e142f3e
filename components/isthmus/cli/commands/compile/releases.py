"""What `isthmus compile` does: several recipes are several releases, compiled side by side and shown as one, the best chosen by the
rule of `auto`."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from isthmus.cli.commands.compile.options import Options
from isthmus.cli.shared.naming import option_named, options_named
from isthmus.cli.shared.pages import check_page, write_page
from isthmus.compile import CompileRequest, check_accuracy, check_request, compile_release
from isthmus.compile.build.choose import Choice, choose
from isthmus.compile.recipes import AUTO, Recipe, parse
from isthmus.compile.report import html, rows_of, table
from isthmus.compile.report.page import ready
from isthmus.compile.report.rows import baseline_of, candidates_of, chosen_recipe
from isthmus.digest import names_release
from isthmus.errors import GateError, InputError, Problem
from isthmus.release.cache import ReleaseCache, default_cache_directory
from isthmus.release.manifest import EDGE, SERVING, Candidate, Release

# A file or a log has room for every column.
PIPED_WIDTH = 160
Say = Callable[[str], None]
_OPTIONS = ("recipe", "evaluation", "min_accuracy", "allow_unsafe", "signature", "custom_objects", "training_deadline_seconds", "version")


def compile_and_show(options: Options) -> None:
    """Compiles, writes the page if one is wanted, prints the table or JSON, and only then holds it against min_accuracy.

    Raises:
        IsthmusError: bad input, as an InputError with all of it; or what compiling raises.
    """
    request = CompileRequest(
        model=options.name or name_of(options.model),
        source=options.model,
        recipe=AUTO,
        version=options.version,
        evaluation=options.evaluation,
        training_deadline_seconds=options.training_deadline_seconds,
        allow_unsafe=options.allow_unsafe,
        signature=options.signature,
        custom_objects=options.custom_objects,
    )
    min_accuracy, page = options.min_accuracy, options.page
    requests = requests_for(request, options.recipe or [AUTO], min_accuracy)
    if page:
        ready()
        check_page(page)
    with options_named(request.model, _OPTIONS):
        release = asyncio.run(compile_all(requests, min_accuracy, ReleaseCache(default_cache_directory()), Console(stderr=True)))
        if page:
            write_page(page, html(release, request.source))
        out = Console(width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPED_WIDTH)
        if options.as_json:
            out.print_json(data=as_data(release, request.source))
        else:
            kind, path = _made(release)
            written = f"\npage    {page}" if page else ""
            out.print(table(release))
            out.print(Text(f"release {release.digest}\n{kind:<7} {path}{written}"), soft_wrap=True)
        problems = [] if min_accuracy is None else check_accuracy(release, min_accuracy, request.model)
        if problems:
            raise GateError(problems)


def name_of(source: str) -> str:
    """What a model is called if nobody says so: the function's, the folder's or the file's name, as far as names allow."""
    if names_release(source):
        return "release"
    function = source.rpartition(":")[2] if ":" in source else ""
    path = Path(source).absolute()
    stem = function or (path.stem if path.suffix in (".keras", ".tflite") else path.resolve().name)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).lstrip("-._") or "model"


def requests_for(request: CompileRequest, recipes: Sequence[str], min_accuracy: float | None) -> list[CompileRequest]:
    """One request for each recipe, each once.

    Raises:
        InputError: all that can be seen to be wrong without running anything.
    """
    read = [parse(recipe, "--recipe") for recipe in recipes]
    problems = [problem for _, found in read for problem in found]
    wanted = list(dict.fromkeys(recipe for recipe, _ in read if recipe))
    alone = next((recipe.steps[0].name for recipe in wanted if recipe.is_auto or recipe.is_serving_only), None)
    if len(wanted) > 1 and alone:
        problems.append(Problem("--recipe", f"{alone} stands beside others", f"{alone} alone, or recipes without it"))
    # What `auto` may give up depends on the gate, and so does its release; a recipe's own release does not.
    made = [replace(request, recipe=it.text, min_accuracy=min_accuracy if it.is_auto else None) for it in wanted]
    problems += [option_named(problem, request.model, _OPTIONS) for problem in check_request(made[0] if made else request, "")]
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return made


async def compile_all(requests: Sequence[CompileRequest], min_accuracy: float | None, cache: ReleaseCache, errors: Console) -> Release:
    """The release of the best recipe, its record with the variants of all.

    Raises:
        InputError: no recipe can be made from this source.
        GateError: none keeps min_accuracy.
        IsthmusError: whatever else compiling raises.
    """
    with _progress(errors) as progress:
        work = (compile_release(request, cache, progress(request), warn=_warner(errors)) for request in requests)
        done = await asyncio.gather(*work, return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException) and not isinstance(result, InputError):
            raise result
    failed = [error for error in done if isinstance(error, InputError)]
    if len(failed) == len(done):
        raise failed[0] if len(failed) == 1 else InputError(list(dict.fromkeys(problem for error in failed for problem in error.problems)))
    if len(requests) == 1 and isinstance(done[0], Release):
        return done[0]
    tried = [
        Candidate(request.recipe, problem=_in_short(result)) if isinstance(result, InputError) else _own(result)
        for request, result in zip(requests, done, strict=True)
        if isinstance(result, InputError | Release)
    ]
    known = next(result for result in done if isinstance(result, Release))
    choice = _choice(tried, min_accuracy, known, requests[0].model)
    best = done[choice.index]
    assert isinstance(best, Release)  # noqa: S101 - one that is out is never chosen
    return replace(best, record=replace(best.record, candidates=tuple(tried), reason=choice.reason))


def _own(release: Release) -> Candidate:
    """The candidate that became the release: its record may be of a search that tried others too."""
    recipe, tried = chosen_recipe(release), candidates_of(release)
    return next((it for it in tried if it.recipe == recipe), tried[0])


def _choice(tried: Sequence[Candidate], min_accuracy: float | None, known: Release, model: str) -> Choice:
    source_accuracy = known.manifest.source_accuracy
    if source_accuracy is None and min_accuracy is None:
        sound = [index for index, it in enumerate(tried) if not it.problem]
        index = min(sound, key=lambda index: tried[index].shipped_bytes)
        return Choice(index, "the smallest as shipped; there is no evaluation data to judge it by")
    return choose(
        tried, Recipe.of(AUTO), min_accuracy=min_accuracy, source_accuracy=source_accuracy, where=model, metric=known.record.metric
    )


def _in_short(error: InputError) -> str:
    return "; ".join(" ".join(str(replace(problem, path="")).split()) for problem in error.problems)


def as_data(release: Release, source_name: str) -> dict[str, Any]:
    """What `--json` prints: every figure of the table, unrounded."""
    manifest, record, baseline = release.manifest, release.record, baseline_of(release)
    kind, path = _made(release)
    return {
        "release": release.digest,
        "model": manifest.model,
        "source": source_name,
        kind: str(path),
        "chosen": chosen_recipe(release),
        "reason": record.reason,
        "metric": record.metric,
        "source_accuracy": manifest.source_accuracy,
        "evaluation_examples": manifest.evaluation_examples,
        "smaller_than": asdict(baseline) if baseline else None,
        "machine_class": record.machine_class,
        "variants": [asdict(row) for row in rows_of(release)],
    }


def _made(release: Release) -> tuple[str, Path]:
    """What to look at: the file for devices, or, of a release without one, the folder of the SavedModel."""
    if release.manifest.has(EDGE):
        return "file", release.path(release.manifest.variant(EDGE).files[0])
    return "folder", release.directory / SERVING / str(release.manifest.version)


def _warner(errors: Console) -> Say:
    return lambda text: errors.print(Text(f"warning: {text}", "yellow"), soft_wrap=True)


@contextlib.contextmanager
def _progress(errors: Console) -> Iterator[Callable[[CompileRequest], Say]]:
    """Gives a place to report steps to: a live row for each request, or plain lines where nobody watches."""
    rows = Progress(SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(), console=errors, transient=True)

    def place(request: CompileRequest) -> Say:
        about = f"{request.model} ({request.recipe}): "

        def shown(step: str) -> str:
            return about + step.removeprefix(f"{request.recipe}: ")  # which `auto` needs, and nobody else

        if not errors.is_terminal:
            return lambda step: errors.print(Text(shown(step)), soft_wrap=True)
        row = rows.add_task(about, total=None)
        return lambda step: rows.update(row, description=shown(step))

    with rows if errors.is_terminal else contextlib.nullcontext():
        yield place
