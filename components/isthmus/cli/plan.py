"""`isthmus plan`: the plan of what is deployed, each number's arithmetic, and what would be if. It reads the state and asks nobody."""

import os
from pathlib import Path
from typing import Annotated

import typer


def command(
    stack: Annotated[str, typer.Argument(help="A stack of this project.")] = "local",
    what_if: Annotated[
        list[str] | None, typer.Option("--what-if", help="demand=2x, lose=zone, lose=server, lose=N or offline=30%; may be repeated.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="For each number the formula, the inputs, the result.")] = False,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page with plots to this file.")] = None,
) -> None:
    """Show the plan of what is deployed: servers, p95, load, cost; and what would be if."""
    from isthmus.observing.stack_state import reading

    # numpy's threads, for matrices that are not here, take longer to start than all of the arithmetic.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    with reading(stack) as read:  # half a second, in which this process loads the arithmetic
        from rich.console import Console

        from isthmus.cli import plan_view
        from isthmus.cli.pages import check_page, write_page
        from isthmus.sizing.asking.deployed import stack_plan
        from isthmus.sizing.asking.what_if import scenario_of

        scenario = scenario_of(what_if or [])
        if page:
            check_page(page)
        state = read()
    plan = stack_plan(state.name, state.services(), state.fleets(), scenario)
    if page:
        from isthmus.pages.plan import html

        write_page(page, html(plan))
    console = Console()
    console.print(plan_view.rendered(plan, explain=explain))
    if page:
        console.print(f"page {page}", markup=False, highlight=False, soft_wrap=True)
