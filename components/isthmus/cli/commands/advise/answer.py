"""What `isthmus advise` answers: the inputs of preset, file and options together, and the answer in a terminal or as JSON."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
import yaml
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isthmus.errors import InputError, Problem
from isthmus.sizing.advisor.advice import Advice, Check, advise
from isthmus.sizing.advisor.inputs import Situation
from isthmus.sizing.advisor.presets import PRESETS, situation_with
from isthmus.sizing.advisor.requirements import MODES, REQUIREMENTS, Mode
from isthmus.sizing.advisor.sensitivity import Flip, flips
from isthmus.words import in_bytes, plain

# So many changes are shown unless --all is given; JSON has all.
_CHANGES_SHOWN = 8
_COLOURS: Mapping[str, str] = {"cloud": "cyan", "edge": "green", "hybrid": "magenta"}
_UNITS: Mapping[str, Callable[[float], str]] = {
    "ms": lambda value: f"{plain(value)} ms",
    "percent": lambda value: f"{value:.4g} %" if value < 99 else f"{value:.7g} %",
    "bytes": in_bytes,
    "servers": plain,
    "leaves": lambda value: "leaves" if value else "stays",
}


def show(preset: str | None, file: Path | None, given: Mapping[str, Any], *, as_json: bool, all_changes: bool) -> None:
    """Prints the advice; where no mode fits, the command fails."""
    situation = situation_from(preset, file, given)
    advice, changes = advise(situation), flips(situation)
    if as_json:
        Console().print_json(json.dumps({**advice.as_dict(), "changes": [asdict(each) for each in changes]}))
    else:
        Console().print(view(advice, changes, all_changes=all_changes))
    if advice.mode is None:
        raise typer.Exit(1)


def list_presets() -> None:
    """Prints every preset."""
    table = Table("preset", "mode", "scenario")
    for name, preset in PRESETS.items():
        table.add_row(name, Text(preset.expected, _COLOURS[preset.expected]), preset.about)
    Console().print(table)


def situation_from(preset: str | None, file: Path | None, given: Mapping[str, Any]) -> Situation:
    """The inputs of a preset, overridden by those of a file, overridden by options.

    Raises:
        InputError: no such preset, a file that cannot be used, nothing given at all, or bad inputs; all at once.
    """
    values = _file_values(file) if file else {}
    files_preset = values.pop("preset", None)
    preset = files_preset if preset is None else preset
    if preset is None and not values and not given:
        raise InputError([Problem("", "nothing to advise on", f"--preset ({', '.join(PRESETS)}), --file, or one option for each input")])
    values = {**values, **{name: _number(value) for name, value in given.items()}}
    return situation_with(preset, values)


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return int(value)
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:
        return value  # refused with its name, together with everything else


def _file_values(file: Path) -> dict[str, Any]:
    expected = "a YAML file of inputs, such as `p95_ms: 50`"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError([Problem("--file", f"cannot read {str(file)!r}: {error.strerror}", expected)]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        raise InputError([Problem("--file", f"{file.name!r} is not YAML", expected)]) from error
    if not isinstance(content, dict):
        raise InputError([Problem("--file", f"{file.name!r} has no inputs by name", expected)])
    return content


def view(advice: Advice, changes: list[Flip], *, all_changes: bool = False) -> Group:
    """Table, answer, reasons and changes, for a terminal of 80 columns or more."""
    answer = Text.assemble("\nAnswer: ", (advice.mode or "no mode fits", f"bold {_COLOURS.get(advice.mode or '', 'red')}"))
    shown = changes if all_changes else changes[:_CHANGES_SHOWN]
    lines = [_bullet(str(each)) for each in shown] or [_bullet("no change of a single input")]
    if len(changes) > len(shown):
        lines.append(_bullet(f"and {len(changes) - len(shown)} greater changes: --all"))
    return Group(
        _table(advice),
        answer,
        *(_bullet(reason) for reason in advice.reasons),
        Text("\nWhat alone would change it"),
        *lines,
    )


def _bullet(text: str) -> Padding:
    return Padding(Text(f"· {text}"), (0, 0, 0, 2), expand=False)


def _table(advice: Advice) -> Table:
    table = Table("requirement", "needed", *MODES)
    for row in REQUIREMENTS:
        checks = {mode: _check(advice, mode, row.name) for mode in MODES}
        limit = row.limit(advice.situation)
        needed = f"{'≥' if row.at_least else '≤'} {_UNITS[row.unit](limit)}"
        if row.unit == "leaves":
            needed = "may leave" if limit else "stays"
        table.add_row(row.name, needed, *(_cell(check) for check in checks.values()))
    table.add_section()
    costs = [plain(advice.verdicts[mode].cost_per_month) for mode in MODES]
    table.add_row("cost a month", "cheapest", *costs)
    compared = [plain(advice.verdicts[mode].compared_cost) if advice.verdicts[mode].feasible else "–" for mode in MODES]
    table.add_row(
        "… as compared", "", *(Text(cost, "bold" if mode == advice.mode else "") for mode, cost in zip(MODES, compared, strict=True))
    )
    return table


def _check(advice: Advice, mode: Mode, requirement: str) -> Check | None:
    return next((check for check in advice.verdicts[mode].checks if check.requirement == requirement), None)


def _cell(check: Check | None) -> Text:
    if check is None:
        return Text("–", "dim")
    return Text(f"{'✓' if check.met else '✗'} {_UNITS[check.unit](check.value)}", "green" if check.met else "red")
