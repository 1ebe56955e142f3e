"""Reports on their way: what is put, what is deleted, and in which order."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from toolchain.testing import patience

from isthmus_agent.core.effects import Say
from isthmus_agent.disk.queue import Queue
from isthmus_agent.formats.report import Figures, Outcome, Reason, Report, read
from isthmus_agent.manager.reporter import Reporter, Sender
from isthmus_agent.manager.transport import Transport

DIGEST, KEY, URL = f"sha256:{7:064x}", b"k" * 32, "http://store/models/edge/"


class Recording(Transport):
    """Takes everything, unless it is told otherwise. asked: methods and the boots of the report that it was about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int]] = []
        self.reports: list[Report] = []
        self.deletes = 204

    def put(self, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None, **options: Any) -> int:
        self.reports.append(self._note("PUT", url))
        return 200

    def delete(self, url: str, **options: Any) -> int:
        self._note("DELETE", url)
        return self.deletes

    def _note(self, method: str, url: str) -> Report:
        found = read(url.removeprefix(URL), "").verified("cameras", KEY)
        self.asked.append((method, found.figures.boots))
        return found


@pytest.fixture
def store() -> Recording:
    return Recording()


def begun(folder: Path, store: Recording, boots: int, now: list[float]) -> Reporter:
    """A start of the program."""
    queue = Queue(folder / "reports")
    queue.open()
    found = Reporter(queue, Sender("camera-1", "cameras", URL, KEY), store, folder / "reported", monotonic=lambda: now[0])
    found.start(lambda: Figures(boots=boots))
    return found


@pytest.mark.parametrize("status", [204, 403])
def test_what_an_earlier_start_has_said_goes_before_this_one_speaks(tmp_path: Path, store: Recording, status: int):
    store.deletes = status
    for boots in (1, 2):
        begun(tmp_path, store, boots, [0.0]).say(Say(3, DIGEST, Outcome.CONFIRMED))
        patience.wait_until(lambda: len(store.reports) == boots)  # noqa: B023 - it is asked in this turn
    begun(tmp_path, store, 3, [0.0]).say(Say(4, DIGEST, Outcome.CONFIRMED))
    patience.wait_until(lambda: len(store.reports) == 3)
    assert store.asked == [("PUT", 1), ("DELETE", 1), ("PUT", 2), ("PUT", 3)]  # the last is about another assignment


def test_a_reason_that_is_added_to_an_outcome_does_not_begin_it_anew(tmp_path: Path, store: Recording):
    now = [1000.0]
    reporter = begun(tmp_path, store, 1, now)
    for at, outcome, reason in (
        (1000.0, Outcome.CONFIRMED, Reason.NONE),
        (1300.0, Outcome.CONFIRMED, Reason.REPLAYED),
        (1400.0, Outcome.CONFIRMED, Reason.NONE),
        (1500.0, Outcome.BLOCKED, Reason.HELD_BY_OPERATOR),
    ):
        now[0], count = at, len(store.reports)
        reporter.say(Say(3, DIGEST, outcome, reason))
        patience.wait_until(lambda: len(store.reports) == count + 1)  # noqa: B023 - it is asked in this turn
    assert [it.figures.outcome_seconds for it in store.reports] == [0, 300, 400, 0]
    assert [it.reason for it in store.reports][1] is Reason.REPLAYED
