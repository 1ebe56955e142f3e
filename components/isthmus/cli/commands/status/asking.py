"""`isthmus status`: what a stack runs, asked of the running parts themselves."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isthmus.errors import IsthmusError
from isthmus.observing.parts import Block, Outputs, Part
from isthmus.observing.stack_state import StackState
from isthmus.platforms.registry import observer_of
from isthmus_agent.formats import digests

# A column stays in one piece where nothing in it is longer. A name is read, and typed; the path of a socket is neither, and gives way.
_WHOLE_CHARACTERS: Final = {"part": 12, "name": 24, "release": 12, "version": 10, "health": 9}


def blocks_of(state: StackState) -> list[Block]:
    """Every service and fleet of the stack, asked side by side."""
    wanted = [("cloud", *it) for it in state.services().items()] + [("edge", *it) for it in state.fleets().items()]

    def ask(role: str, name: str, outputs: Outputs) -> Block:
        try:
            found: Block = observer_of(outputs).block(name, outputs, state)
        except IsthmusError as error:
            return Block(f"{role} · {name}", problem=str(error))
        return found

    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda args: ask(*args), wanted))


def rendered(blocks: Iterable[Block]) -> RenderableType:
    """A title, facts and a table for each; fits a terminal of 80 columns."""
    return Group(*(_rendered(block) for block in blocks))


def _rendered(block: Block) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for index, (label, text) in enumerate(block.facts):
        facts.add_row("" if index and block.facts[index - 1][0] == label else label, Text(text))
    if block.problem:
        facts.add_row("problem", Text(block.problem, style="red"))
    notes = [Text(f"{part.name}: {note}", style="" if part.healthy else "red") for part in block.parts if (note := _note(part))]
    return Group(
        Text(block.title, style="bold"),
        *(Padding(it, (0, 0, 0, 2)) for it in (facts, *([_table(block.parts)] if block.parts else ()), *notes)),
        "",
    )


def _table(parts: Sequence[Part]) -> Table:
    """A Pod's name has some 30 characters: beside it there is room for little, and what is long goes below."""
    found = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    rows = [(part.kind, part.name, part.on, digests.shown(part.release), part.version, _word(part)) for part in parts]
    for index, head in enumerate(("part", "name", "on", "release", "version", "health")):
        is_whole = max(len(row[index]) for row in rows) <= _WHOLE_CHARACTERS.get(head, 0)
        found.add_column(head, overflow="fold", no_wrap=is_whole)
    for part, (*words, health) in zip(parts, rows, strict=True):
        found.add_row(*map(Text, words), Text(health, style="green" if part.healthy else "red"))
    return found


def _word(part: Part) -> str:
    """The state without what explains it."""
    return part.state.partition(":")[0].partition(" (")[0].partition(". ")[0]


def _note(part: Part) -> str:
    """What has no room in the table."""
    notes = [part.state] if part.state != _word(part) else []
    if part.restarts:
        notes.append(f"{part.restarts} restart{'s' * (part.restarts > 1)}")
    return ", ".join(notes)
