"""What `isthmus policy` does: reads the figures, solves, shows, and writes what was asked for."""

import json
from pathlib import Path
from typing import Final

from rich.console import Console

from isthmus.arguments.policy_file import load_policy
from isthmus.cli.commands.policy.command import Options
from isthmus.cli.commands.policy.view import rendered
from isthmus.cli.shared.pages import check_page, write_page
from isthmus.errors import InputError, IsthmusError, Problem
from isthmus.migration.policy_file import policy_of
from isthmus.migration.study import study
from isthmus.pages.policy import html
from isthmus_agent.formats import digests
from isthmus_agent.formats.contents import ANY_CLASS

_ALL: Final = "all"
"""What a file for all classes is named by: `*` is no name of one."""


def show(options: Options) -> None:
    """Raises IsthmusError."""
    _check(options)
    settings = load_policy(str(options.file), Path(), str(options.file))
    studies = {name: study(name, it, settings.margin_ms, options.seed) for name, it in settings.situations().items()}
    files = {}
    if options.out:
        files = {
            options.out / f"policy-{_ALL if name == ANY_CLASS else name}.json": policy_of(it, options.release)
            for name, it in studies.items()
        }
    for file, policy in files.items():
        _write(file, policy.to_json())
    if options.page:
        write_page(options.page, html(settings.name, studies), "--page")
    console = Console()
    if options.as_json:
        text = json.dumps(
            {"name": settings.name, "classes": [it.data() for it in studies.values()], "files": [str(it) for it in files]}, indent=1
        )
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    console.print(rendered(settings.name, studies))
    for written in [*files, *([options.page] if options.page else [])]:
        console.print(f"wrote {written}", markup=False, highlight=False, soft_wrap=True)


def _check(options: Options) -> None:
    """What can be known to be wrong before the work."""
    problems = []
    if options.out and not digests.PATTERN.fullmatch(options.release):
        found = f"found {options.release!r}" if options.release else "is missing"
        problems.append(Problem("--release", found, digests.EXPECTED, "a policy is for one release: give the digest of yours"))
    if options.release and not options.out:
        problems.append(Problem("--release", "names the release that files are for, and none is written", fix="add --out FOLDER"))
    if options.out and options.out.exists() and not options.out.is_dir():
        problems.append(Problem("--out", f"{str(options.out)!r} is a file", "a folder"))
    if problems:
        raise InputError(problems)
    if options.page:
        check_page(options.page, "--page")


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise IsthmusError(f"--out: {str(file)!r} cannot be written: {error.strerror or error}") from error
