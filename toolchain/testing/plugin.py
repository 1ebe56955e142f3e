"""The run inside pytest: it picks a part's tests, begins with the longest, and writes down what became of each.

tests/conftest.py loads it, so that `pytest` by hand has the same marks, order and timeouts; the options are for
`python -m toolchain.testing`.
"""

import importlib
import json
import re
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from toolchain.prepare.steps import let_others_read
from toolchain.testing import lanes, outcomes, patience
from toolchain.testing.needs import needs_of
from toolchain.testing.outcomes import Outcome, Outcomes

# Files with these tests take longest, and so do folders whose files stay together: begun first, they do not leave one process working alone
# at the end.
LONGEST_FIRST = ("e2e", "slow")
TOGETHER_RANK = 0
ALL = "all"
NOT_QUICK = (lanes.ALONE, "e2e", "slow")
PROCESSOR = "processor seconds"
# `slow` begins at one; a busy machine's processors are slower, too.
MUCH_LONGER_SECONDS = 3.0
# The marks that a file gives to all of its tests.
_WHOLE_FILE = re.compile(r"^pytestmark = .*", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("isthmus", "parts of the whole run, see docs/testing.md")
    group.addoption("--part", default=ALL, choices=(ALL, lanes.SIDE_BY_SIDE, *lanes.LANES, lanes.QUIET), help="only this part's tests")
    group.addoption("--units", metavar="FILE", help="only the tests and whole files named in this JSON list")
    group.addoption("--quick", action="store_true", help="only tests that need no engine, cluster, container or TensorFlow")
    group.addoption("--needs", metavar="FILE", help="write what the picked tests need that is built for them")
    group.addoption("--outcomes", metavar="FILE", help="write what became of each test, and print no closing line")


def pytest_configure(config: pytest.Config) -> None:
    let_others_read()
    for line in (
        "alone: not among the tests that run side by side; with nothing beside it, if it has no lane",
        "lane(name): beside the others, in a process of the lane's own",
        "in_order: each test goes on from where the one before it in its file stopped; run again, it is the whole file",
    ):
        config.addinivalue_line("markers", line)
    if config.getoption("--quick"):
        sys.meta_path.insert(0, WithoutTensorFlow())
        config.pluginmanager.register(Stopwatch(), "isthmus-stopwatch")
    if config.getoption("--outcomes") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Writer(config), "isthmus-outcomes")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files that need not be imported. Of a lane's few files each says `mark.alone`; a quick run leaves out whole files by their mark,
    and some of them would import TensorFlow."""
    if collection_path.suffix != ".py" or not collection_path.is_file():
        return None
    text = collection_path.read_text(encoding="utf-8")
    if config.getoption("--part") not in {ALL, lanes.SIDE_BY_SIDE} and f"mark.{lanes.ALONE}" not in text:
        return True
    marks = " ".join(_WHOLE_FILE.findall(text))
    return True if config.getoption("--quick") and any(f"mark.{name}" in marks for name in NOT_QUICK) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _pick(config, items)
    if config.getoption("--quick"):
        _drop(config, items, [item for item in items if any(map(item.get_closest_marker, NOT_QUICK)) or needs_of(item)])
    ranks: dict[str, int] = {}
    for item in items:
        file, unit = _units(item.nodeid)
        known = [rank for rank, mark in enumerate(LONGEST_FIRST) if item.get_closest_marker(mark)]
        known += [TOGETHER_RANK] if unit != file else []
        ranks[unit] = min([*known, ranks.get(unit, len(LONGEST_FIRST))])
    items.sort(key=lambda item: ranks[_units(item.nodeid)[1]])
    for item in items:
        _grant_time(config, item)


def _units(nodeid: str) -> tuple[str, str]:
    """The file of a test, and what one process has whole of which it is a part."""
    file = nodeid.split("::", 1)[0]
    return file, lanes.unit_of(file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """As `--dist=loadfile`, for what stays together."""
    if config.getoption("dist") != "loadfile":
        return None
    found = importlib.import_module("xdist.scheduler").LoadFileScheduling(config, log)
    found._split_scope = lambda nodeid: _units(nodeid)[1]  # by which its own kinds differ
    return found


def _pick(config: pytest.Config, items: list[pytest.Item]) -> None:
    part, file = config.getoption("--part"), config.getoption("--units")
    units = set(json.loads(Path(file).read_text(encoding="utf-8"))) if file else None
    kept = []
    for item in items:
        marks = {mark.name: mark.args for mark in reversed(list(item.iter_markers()))}
        try:
            own = lanes.part_of(marks)
        except ValueError as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from error
        if part in {ALL, own} and (units is None or not units.isdisjoint({item.nodeid, item.nodeid.split("::")[0]})):
            kept.append(item)
    _drop(config, items, [item for item in items if item not in set(kept)])


def _drop(config: pytest.Config, items: list[pytest.Item], dropped: list[pytest.Item]) -> None:
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        gone = set(dropped)
        items[:] = [item for item in items if item not in gone]


def pytest_collection_finish(session: pytest.Session) -> None:
    if file := session.config.getoption("--needs"):
        found = set().union(*map(needs_of, session.items))
        Path(file).write_text(json.dumps(sorted(found)), encoding="utf-8")


def _grant_time(config: pytest.Config, item: pytest.Item) -> None:
    """More of pytest-timeout's time on a machine that is slow now. Without that plugin there is nothing to grant."""
    mark = item.get_closest_marker("timeout")
    given = mark.args[0] if mark and mark.args else config.getini("timeout") if config.pluginmanager.hasplugin("timeout") else None
    if given and (slow := patience.slowness()) > 1:
        item.add_marker(pytest.mark.timeout(float(given) * slow), append=False)


class WithoutTensorFlow:
    """Keeps a quick run quick: TensorFlow takes longer to import than most of its files take to run."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "tensorflow":
            raise RuntimeError(
                "a quick test imports TensorFlow. Fix: mark it `slow`, in a file whose tests all are: pytestmark = pytest.mark.slow"
            )


class Stopwatch:
    """Names the tests of a quick run that are not quick, by their processor time: a busy machine makes no test slow."""

    def __init__(self) -> None:
        self.began = 0.0
        self.slow: list[tuple[float, str]] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self.began = time.process_time()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        report.user_properties.append((PROCESSOR, time.process_time() - self.began))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seconds = next((float(str(value)) for name, value in report.user_properties if name == PROCESSOR), 0.0)
        if report.when == "call" and seconds > MUCH_LONGER_SECONDS:
            self.slow.append((seconds, report.nodeid))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for seconds, name in sorted(self.slow, reverse=True):
            terminalreporter.write_line(f"not quick, mark it slow: {seconds:.1f} s of processor time: {name}")


class Writer:
    """Gathers what became of each test of this part, for the whole run to tell."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.found: Outcomes = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        before = self.found.get(report.nodeid)
        unit = report.nodeid.split("::")[0] if lanes.IN_ORDER in report.keywords else report.nodeid
        outcome, reason = _outcome(report)
        if before and outcome in {"", outcomes.PASSED}:
            outcome, reason = before.outcome, before.reason
        seconds = getattr(report, "duration", 0.0) + (before.seconds if before else 0.0)
        self.found[report.nodeid] = Outcome(outcome or outcomes.PASSED, seconds, unit, reason)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.found[report.nodeid] = Outcome(outcomes.FAILED, 0.0, report.nodeid, "it cannot be collected")
        elif report.skipped:
            self.found[report.nodeid] = Outcome(outcomes.SKIPPED, 0.0, report.nodeid, _reason(report.longrepr))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        outcomes.write(Path(self.config.getoption("--outcomes")), self.found)
        # There is one closing line of a run, and it is the run's: those of its parts would be taken for it.
        reporter: Any = self.config.pluginmanager.getplugin("terminalreporter")
        reporter.summary_stats = lambda: None


def _outcome(report: pytest.TestReport) -> tuple[str, str]:
    """What one phase of a test says of it, and why; an empty text if it says nothing."""
    expected = getattr(report, "wasxfail", None)
    if report.failed:
        return outcomes.FAILED, ""
    if report.skipped:
        return (outcomes.XFAILED, str(expected)) if expected is not None else (outcomes.SKIPPED, _reason(report.longrepr))
    if report.when == "call":
        return outcomes.XPASSED if expected is not None else outcomes.PASSED, ""
    return "", ""


def _reason(longrepr: Any) -> str:
    """Why something was skipped; pytest tells it as (file, line, reason)."""
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return str(text).removeprefix("Skipped: ")
