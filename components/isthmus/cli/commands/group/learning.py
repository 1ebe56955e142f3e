"""What `isthmus group learn` does: answers of the members, from the release's edge variant or from a file; the group that they make; its
figures; its file."""

import asyncio

from rich.console import Console

from isthmus.cli.commands.compile.releases import compile_all, name_of, requests_for
from isthmus.cli.commands.group.heads import Learned, compared, way_problems
from isthmus.cli.commands.group.options import Options
from isthmus.cli.commands.group.view import as_data, shown
from isthmus.cli.shared.pages import check_page, write_page
from isthmus.compile import CompileRequest
from isthmus.compile.answering import edge_answers
from isthmus.compile.recipes import AUTO
from isthmus.digest import is_digest
from isthmus.errors import InputError, Problem
from isthmus.fusion.learn import learn
from isthmus.fusion.threats import threats
from isthmus.fusion.validate import parts_of, validate
from isthmus.fusion.views import Views, views_of
from isthmus.fusion.ways import LOG_ODDS
from isthmus.grouping import SeenExamples, read_views
from isthmus.limits import FUSION_CLIP_NATS
from isthmus.release.cache import ReleaseCache, default_cache_directory
from isthmus.release.manifest import Release


def learn_and_show(options: Options) -> None:
    """Learns, writes the file if one is wanted, and shows the table or JSON. Raises IsthmusError."""
    problems: list[Problem] = []
    option, file = ("--views", options.views) if options.views else ("--outputs", options.outputs)
    if (options.views is None) == (options.outputs is None):
        what = "stands beside --outputs" if options.views else "is missing"
        problems.append(Problem("--views", what, "one of --views FILE.npz (examples) and --outputs FILE.npz (recorded answers)"))
    clip_nats = _clip_nats(options.clip_nats, problems)
    problems += way_problems(options)
    seen, found = read_views(file, option) if file else (None, [])
    problems += found
    request = CompileRequest(model=name_of(options.model), source=options.model, recipe=options.recipe)
    requests: list[CompileRequest] = []
    try:
        requests = requests_for(request, [options.recipe or AUTO], None)
    except InputError as error:
        problems += error.problems
    for name, path in (("--out", options.out), ("--head", options.head)):
        try:
            if path:
                check_page(path, name)
        except InputError as error:
            problems += error.problems
    if problems or seen is None:
        raise InputError(problems)
    views, release, digest = _measured(options, requests, seen)
    group, parts = learn(views, digest, clip_nats), parts_of(views, clip_nats)
    figures, lost = validate(views, clip_nats, parts), threats(parts)
    ways = None
    if release and options.way != LOG_ODDS:
        ways = compared(options, Learned(release, seen.arrays, views, parts, figures.answer_bytes))
    if options.out:
        write_page(options.out, group.to_bytes().decode("ascii"), "--out")
    console = Console()
    if options.as_json:
        console.print_json(data=as_data(group, figures, lost, ways))
    else:
        for part in shown(group, figures, lost, ways, options):
            console.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)


def _measured(options: Options, requests: list[CompileRequest], seen: SeenExamples) -> tuple[Views, Release | None, str]:
    """What the members answer, the release and its digest; without the release where it need not be here."""
    if options.outputs is not None:
        views = views_of(seen.arrays, seen.labels, "--outputs")  # before anything is compiled
        if is_digest(options.model):
            return views, None, options.model  # others may have recorded what it answered: it need not be here
        release = _release(requests)
        return views, release, release.digest
    release = _release(requests)
    return views_of(edge_answers(release, seen.arrays, "MODEL", "--views"), seen.labels, "--views"), release, release.digest


def _release(requests: list[CompileRequest]) -> Release:
    return asyncio.run(compile_all(requests, None, ReleaseCache(default_cache_directory()), Console(stderr=True)))


def _clip_nats(text: str | None, problems: list[Problem]) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not FUSION_CLIP_NATS.allows(value):
        problems.append(Problem("--clip-nats", f"found {text[:40]!r}", f"a number, {FUSION_CLIP_NATS.range}"))
    return value
