"""What became of tests: of one part of a run, of the whole, and which of them were flaky."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

PASSED, FAILED, SKIPPED, XFAILED, XPASSED = "passed", "failed", "skipped", "xfailed", "xpassed"
FLAKY = "flaky"
# In the order of pytest's closing line.
ORDER = (FAILED, PASSED, SKIPPED, XFAILED, XPASSED, FLAKY)
LINE_COLUMNS = 100


@dataclass(frozen=True)
class Outcome:
    """What became of one test.

    outcome: one of ORDER but FLAKY. seconds: set-up and tear-down included. unit: what must be run to run it again: itself, or the file
    whose tests go on from one another. reason: why it was skipped.
    """

    outcome: str
    seconds: float
    unit: str
    reason: str = ""


Outcomes = dict[str, Outcome]


def write(file: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Writes outcomes by node id, as JSON."""
    file.write_text(json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()}, indent=1), encoding="utf-8")


def read(file: Path) -> Outcomes:
    """The outcomes that a part wrote; none where it did not get so far."""
    if not file.is_file():
        return {}
    return {name: Outcome(**fields) for name, fields in json.loads(file.read_text(encoding="utf-8")).items()}


def failed(outcomes: Mapping[str, Outcome]) -> list[str]:
    """Node ids of the tests that failed."""
    return [name for name, outcome in outcomes.items() if outcome.outcome == FAILED]


def units(outcomes: Mapping[str, Outcome]) -> list[str]:
    """What must be run to run all that failed again; each once. A file that cannot be collected is not: that is no chance."""
    in_order = {outcome.unit for name, outcome in outcomes.items() if "::" in name and "::" not in outcome.unit}
    # A process that crashed tells no marks: the file's other tests do.
    found = (name.split("::")[0] if name.split("::")[0] in in_order else outcomes[name].unit for name in failed(outcomes) if "::" in name)
    return list(dict.fromkeys(found))


def flaky(first: Mapping[str, Outcome], again: Mapping[str, Outcome]) -> list[str]:
    """Node ids of the tests that failed, and passed when they were run again."""
    return [name for name in failed(first) if name in again and again[name].outcome in {PASSED, XFAILED, XPASSED}]


def counts(outcomes: Mapping[str, Outcome], flaky_tests: Iterable[str]) -> dict[str, int]:
    """How many tests of each outcome, in ORDER; a flaky one is among those that passed, too."""
    found = Counter(outcome.outcome for outcome in outcomes.values())
    found[FLAKY] = len(list(flaky_tests))
    return {name: found[name] for name in ORDER if found[name]}


def slowest_files(outcomes: Mapping[str, Outcome], most: int) -> dict[str, float]:
    """File → seconds of all its tests together, of those files that took longest; the longest first."""
    found: Counter[str] = Counter()
    for name, outcome in outcomes.items():
        found[name.split("::")[0]] += outcome.seconds  # type: ignore[assignment]
    return {name: round(seconds, 1) for name, seconds in found.most_common(most)}


def closing_line(numbers: Mapping[str, int], seconds: float) -> str:
    """The last line of a run, in pytest's own form: it is what those who read runs look for."""
    minutes, rest = divmod(round(seconds), 60)
    text = ", ".join(f"{number} {name}" for name, number in numbers.items()) or "no tests ran"
    return f" {text} in {seconds:.2f}s ({minutes // 60}:{minutes % 60:02}:{rest:02}) ".center(LINE_COLUMNS, "=")
