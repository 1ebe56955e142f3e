"""Where a rollout stands, on a terminal. standing: `Standing.data()`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isthmus.pages.fleet import CLOSED, STATES, WaveView, turns, wave_view
from isthmus_agent.formats import digests

_BAR_CELLS: Final = 24
_MOST_VALUES: Final = 5
_MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "confirmed": ("█", "blue"),
    "soaking": ("▓", "blue"),
    "updating": ("-", ""),
    "failed": ("x", "red"),
    "blocked": ("!", "yellow"),
    "unclear": ("?", "magenta"),
    "silent": ("□", ""),
    "later": ("–", "dim"),
    CLOSED: ("·", "dim"),
}
"""Every state has a character of its own beside its colour."""
STYLES: Final[Mapping[str, str]] = {
    "closed": "dim",
    "open": "blue",
    "waiting": "blue",
    "passed": "green",
    "paused": "yellow",
    "aborted": "bold red",
}
"""Of the states of a wave (`rollouts.standing.WaveState`)."""


def rendered(standing: Mapping[str, Any]) -> RenderableType:
    """A title, a row for each wave, gates, failures by reason, who is silent; fits a terminal of 80 columns."""
    standing = _printable(standing)
    waves = [wave_view(it) for it in standing["waves"]]
    title = f"fleet · {standing['fleet']} · number {standing['number']} · {standing['devices']:,} devices"
    parts: list[RenderableType] = [_waves(waves), _legend(waves)]
    for wave in waves:
        if wave.said:
            parts.append(Text.assemble((f"gate {wave.name}  ", "bold"), wave.said))
    for head, named in (("failed", standing["failures"]), ("blocked", standing["blocked"])):
        parts += [_group(head, it) for it in named]
    parts += list(_rest(standing))
    return Group(Text(title, style="bold"), *(Padding(it, (0, 0, 0, 2)) for it in parts))


def _printable(value: Any) -> Any:
    """The same without what a terminal would obey. It is printable ASCII already where it comes from; this is where it would matter."""
    if isinstance(value, str):
        return "".join(it if it.isprintable() else "?" for it in value)
    if isinstance(value, Mapping):
        return {_printable(key): _printable(it) for key, it in value.items()}
    return [_printable(it) for it in value] if isinstance(value, list) else value


def _waves(waves: Sequence[WaveView]) -> Table:
    found = Table("wave", "state", "how far", box=None, padding=(0, 2, 0, 0), header_style="dim")
    found.add_column("confirmed", justify="right", no_wrap=True)
    found.add_column("failed", justify="right", no_wrap=True)
    for wave in waves:
        state = Text(wave.state, style=STYLES[wave.state])
        confirmed = f"{wave.counts.get('confirmed', 0):,} of {wave.devices:,}"
        failed = Text(f"{wave.counts.get('failed', 0):,}", style="red" if wave.counts.get("failed") else "")
        found.add_row(Text(wave.name), state, _bar(wave), confirmed, failed)
    return found


def _bar(wave: WaveView) -> Text:
    """Every state that a device is at has one character at the least."""
    found, left = Text(), _BAR_CELLS
    for index, (state, _, share) in enumerate(wave.shares):
        later = len(wave.shares) - index - 1
        cells = left if not later else min(max(1, round(_BAR_CELLS * share / 100)), left - later)
        mark, style = _MARKS[state]
        found.append(mark * cells, style=style)
        left -= cells
    return found


def _legend(waves: Sequence[WaveView]) -> Text:
    found = Text(style="dim")
    for state, word in STATES.items():
        if any(wave.counts.get(state) for wave in waves):
            found.append(f"{_MARKS[state][0]} {word}  ")
    return found


def _group(head: str, group: Mapping[str, Any]) -> Text:
    """A device's words are text, whatever they hold."""
    said = group["example"].removeprefix(group["reason"]).removeprefix(": ")
    example = f" ({said})" if said else ""
    return Text.assemble((f"{head}  ", "bold"), f"{group['devices']:,} × {group['reason']}{example}: {_names(group)}")


def _rest(standing: Mapping[str, Any]) -> Iterator[Text]:
    for head in ("silent", "unclear"):
        if standing[head]["devices"]:
            yield Text.assemble((f"{head}  ", "bold"), f"{standing[head]['devices']:,}: {_names(standing[head])}")
    for whom, text in [*turns(standing)][:_MOST_VALUES]:
        yield Text.assemble(("turns  ", "bold"), f"{whom}: {text}")
    for it in standing["versions"]:
        yield Text.assemble(("version  ", "bold"), f"{digests.shown(it['digest'])} on {it['devices']:,}")
    if standing["paused"]:
        yield Text("paused: devices begin nothing new until `isthmus fleet resume`", style="yellow")
    if not standing["is_read"]:
        yield Text("what devices say was not read: the fleet's secret is not here (--secret)", style="yellow")


def _names(named: Mapping[str, Any], most: int = 5) -> str:
    shown = named["names"][:most]
    left = named["devices"] - len(shown)
    return ", ".join(shown) + (f" and {left:,} more" if left else "")
