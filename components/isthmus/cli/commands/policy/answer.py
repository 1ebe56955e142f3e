"""What `isthmus policy` does: reads the figures, solves, shows, and writes what was asked for."""

import json
from pathlib import Path
from typing import Final

from rich.console import Console

from isthmus.arguments.policy_file import PolicySettings, load_policy
from isthmus.cli.commands.policy.counted import counted
from isthmus.cli.commands.policy.view import rendered
from isthmus.cli.shared.pages import check_page, write_page
from isthmus.errors import InputError, IsthmusError, Problem
from isthmus.migration.learning.relearning import Learned
from isthmus.migration.learning.relearning import learned as learned_from
from isthmus.migration.policy_file import policy_of
from isthmus.migration.study import Study, solved, study, study_of
from isthmus.pages.policy import html
from isthmus_agent.formats import digests
from isthmus_agent.formats.contents import ANY_CLASS

_ALL: Final = "all"
"""What a file for all classes is named by: `*` is no name of one."""


def show(file: Path, *, page: Path | None, out: Path | None, release: str, experience: Path | None, seed: int, as_json: bool) -> None:
    """Raises IsthmusError."""
    _check(out, release)
    if page:
        check_page(page, "--page")
    settings = load_policy(str(file), Path(), str(file))
    studies, learned, warning = _solved(settings, experience, seed)
    files = {}
    if out:
        files = {out / f"policy-{_ALL if name == ANY_CLASS else name}.json": policy_of(it, release) for name, it in studies.items()}
    for place, policy in files.items():
        _write(place, policy.to_json())
    if page:
        write_page(page, html(settings.name, studies, learned), "--page")
    console = Console()
    if warning:
        Console(stderr=True).print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        classes = [{**it.data(), **({"learned": learned[name].data()} if name in learned else {})} for name, it in studies.items()]
        text = json.dumps({"name": settings.name, "classes": classes, "files": [str(it) for it in files]}, indent=1)
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    console.print(rendered(settings.name, studies, learned))
    for written in [*files, *([page] if page else [])]:
        console.print(f"wrote {written}", markup=False, highlight=False, soft_wrap=True)


def _solved(settings: PolicySettings, experience: Path | None, seed: int) -> tuple[dict[str, Study], dict[str, Learned], str]:
    """Every class solved, with what its devices have told where that is given; and a warning, where some could not be read."""
    situations, margin = settings.situations(), settings.margin_ms
    if experience is None:
        return {name: study(name, it, margin, seed) for name, it in situations.items()}, {}, ""
    told = counted(experience, "--experience")
    studies, learned = {}, {}
    for name, situation in situations.items():
        planned = solved(name, situation, margin)
        knowledge = learned_from(planned.built, name, told)
        studies[name] = study_of(name, knowledge.built, margin, seed)
        learned[name] = Learned.of(planned, studies[name], knowledge)
    return studies, learned, told.warning


def _check(out: Path | None, release: str) -> None:
    """What can be known to be wrong before the work."""
    problems = []
    if out and not digests.PATTERN.fullmatch(release):
        found = f"found {release!r}" if release else "is missing"
        problems.append(Problem("--release", found, digests.EXPECTED, "a policy is for one release: give the digest of yours"))
    if release and not out:
        problems.append(Problem("--release", "names the release that files are for, and none is written", fix="add --out FOLDER"))
    if out and out.exists() and not out.is_dir():
        problems.append(Problem("--out", f"{str(out)!r} is a file", "a folder"))
    if problems:
        raise InputError(problems)


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise IsthmusError(f"--out: {str(file)!r} cannot be written: {error.strerror or error}") from error
