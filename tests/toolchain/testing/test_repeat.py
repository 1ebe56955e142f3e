import time

import psutil
from toolchain.testing.repeat import burners, summary


def test_what_was_flaky_is_counted_over_runs_and_a_run_without_a_report_is_shown_as_such() -> None:
    reports = [
        {"counts": {"passed": 3, "flaky": 1}, "seconds": 9.5, "flaky": ["a.py::one"], "failed": []},
        {},
        {"counts": {"failed": 1, "passed": 2, "flaky": 1}, "seconds": 8.0, "flaky": ["a.py::one"], "failed": ["b.py::two"]},
    ]
    found = summary(reports)
    assert found["flaky"] == {"a.py::one": 2}
    assert found["failed"] == {"b.py::two": 1}
    assert [run["seconds"] for run in found["runs"]] == [9.5, None, 8.0]


def test_burners_work_as_long_as_they_are_wanted() -> None:
    before = set(psutil.Process().children())
    with burners(2):
        started = set(psutil.Process().children()) - before
        assert len(started) == 2
        while not all(process.cpu_times().user > 0.05 for process in started):
            time.sleep(0.05)
    assert set(psutil.Process().children()) <= before
