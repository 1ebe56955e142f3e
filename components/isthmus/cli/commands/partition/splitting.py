"""What `isthmus partition` does: compiles the device's variant, measures its cuts, and shows which is fastest at which bandwidth."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from isthmus.cli.commands.compile.releases import PIPED_WIDTH, name_of
from isthmus.cli.commands.partition.options import Options
from isthmus.cli.commands.partition.view import Shown, as_data, view
from isthmus.cli.shared.naming import option_named, options_named
from isthmus.compile import CompileRequest, check_request, compile_release
from isthmus.compile.halves.measured import Measured
from isthmus.compile.halves.run import measure_cuts
from isthmus.compile.halves.ways import Situation, plan
from isthmus.compile.key import resolve
from isthmus.compile.recipes import SERVING_ONLY, parse
from isthmus.errors import InputError, Problem
from isthmus.limits import PARTITION
from isthmus.release.cache import ReleaseCache, default_cache_directory

_OPTIONS = ("recipe", "evaluation")
SWEEP = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0)
"""Mbit/s: from the edge of a mobile network to a cable."""
Say = Callable[[str], None]


def split_and_show(options: Options) -> None:
    """Prints the table or JSON.

    Raises:
        InputError: all that can be seen to be wrong before anything is compiled; a model of which no layer allows a cut.
        IsthmusError: whatever compiling and measuring raise.
    """
    request = CompileRequest(name_of(options.model), options.model, options.recipe, evaluation=options.evaluation)
    if problems := problems_with(options, request):
        raise InputError(problems)
    errors = Console(stderr=True)
    with options_named(request.model, _OPTIONS), _progress(errors) as say:
        release_digest, measured = asyncio.run(_measured(request, say))
    situation = Situation(
        options.round_trip_ms,
        options.speed_factor,
        options.cloud_speed_factor,
        options.max_loss_percent / 100,
        options.margin_percent / 100,
    )
    sweep = tuple(sorted(set(options.megabits_per_second or SWEEP)))
    shown = Shown(request.model, options.recipe, release_digest, measured, situation, plan(measured, situation), sweep)
    out = Console(width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPED_WIDTH)
    if options.as_json:
        out.print_json(data=as_data(shown))
    else:
        out.print(view(shown))


def problems_with(options: Options, request: CompileRequest) -> list[Problem]:
    """All that is wrong with what a user gave, before anything runs."""
    numbers: dict[str, tuple[float, ...]] = {
        name: (getattr(options, name),)
        for name in ("round_trip_ms", "speed_factor", "cloud_speed_factor", "max_loss_percent", "margin_percent")
    }
    numbers["megabits_per_second"] = tuple(options.megabits_per_second or ())
    problems = [
        Problem(f"--{name.replace('_', '-')}", f"found {value:g}", f"{PARTITION[name].range} ({PARTITION[name].what})")
        for name, values in numbers.items()
        for value in values
        if not PARTITION[name].allows(value)
    ]
    recipe, found = parse(options.recipe, "--recipe")
    problems += found
    if recipe is not None and recipe.is_serving_only:
        problems.append(Problem("--recipe", f"{SERVING_ONLY} makes no variant for devices", "a recipe that makes one, such as int8"))
    if request.names_digest:
        what = "names a release, which has no evaluation data to check what crosses a cut by"
        problems.append(Problem("MODEL", what, "the model's source; its release comes out of the cache"))
    else:
        problems += [option_named(problem, request.model, _OPTIONS) for problem in check_request(request, "")]
    return list(dict.fromkeys(problems))


async def _measured(request: CompileRequest, say: Say) -> tuple[str, Measured]:
    """The release's digest, and its cuts."""
    cache = ReleaseCache(default_cache_directory())
    source = await asyncio.to_thread(resolve, request)
    release = await compile_release(request, cache, say, source=source)
    return release.digest, await measure_cuts(request, release, source.evaluation, cache, say)


@contextlib.contextmanager
def _progress(errors: Console) -> Iterator[Say]:
    """A place to report steps to: a live row, or plain lines where nobody watches."""
    if not errors.is_terminal:
        yield lambda step: errors.print(Text(step), soft_wrap=True)
        return
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=errors, transient=True) as rows:
        row = rows.add_task("", total=None)
        yield lambda step: rows.update(row, description=step)
