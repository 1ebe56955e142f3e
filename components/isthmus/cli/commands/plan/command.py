"""`isthmus plan`: what may be asked."""

from dataclasses import dataclass
from typing import Annotated

import typer

from isthmus.cli.shared.options import Page, Stack


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    stack: Stack = ""
    what_if: Annotated[
        list[str] | None, typer.Option("--what-if", help="demand=2x, lose=zone, lose=server, lose=N or offline=30%; may be repeated.")
    ] = None
    explain: Annotated[bool, typer.Option("--explain", help="For each number the formula, the inputs, the result.")] = False
    page: Page = None


def run(options: Options) -> None:
    """Shows the plan of what is deployed. It reads the state and asks nobody. Raises IsthmusError."""
    import os

    from isthmus.observing.stack_state import reading

    # numpy's threads, for matrices that are not here, take longer to start than all of the arithmetic.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    with reading(options.stack) as read:  # half a second, in which this process loads the arithmetic
        from rich.console import Console

        from isthmus.cli.commands.plan.view import rendered
        from isthmus.cli.shared.pages import check_page, write_page
        from isthmus.sizing.asking.deployed import stack_plan
        from isthmus.sizing.asking.what_if import scenario_of

        scenario = scenario_of(options.what_if or [])
        if options.page:
            check_page(options.page)
        state = read()
    plan = stack_plan(state.name, state.services(), state.fleets(), scenario)
    if options.page:
        from isthmus.pages.plan import html

        write_page(options.page, html(plan))
    console = Console()
    console.print(rendered(plan, explain=options.explain))
    if options.page:
        console.print(f"page {options.page}", markup=False, highlight=False, soft_wrap=True)
