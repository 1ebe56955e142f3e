import re

from toolchain.testing import outcomes
from toolchain.testing.outcomes import FAILED, PASSED, SKIPPED, XPASSED, Outcome


def made(outcome: str, unit: str) -> Outcome:
    return Outcome(outcome, 0.1, unit)


FIRST = {
    "a.py::one": made(FAILED, "a.py::one"),
    "a.py::two": made(PASSED, "a.py::two"),
    "b.py::one": made(PASSED, "b.py"),
    "b.py::two": made(FAILED, "b.py"),
    "b.py::three": made(FAILED, "b.py"),
    "c.py::one": made(SKIPPED, "c.py::one"),
}


def test_what_is_run_again_is_each_test_that_failed_and_whole_files_that_go_on_from_test_to_test() -> None:
    assert outcomes.units(FIRST) == ["a.py::one", "b.py"]


def test_a_crash_in_a_file_that_goes_on_from_test_to_test_runs_the_file_again_though_it_tells_no_marks() -> None:
    assert outcomes.units({**FIRST, "b.py::four": made(FAILED, "b.py::four")}) == ["a.py::one", "b.py"]


def test_flaky_is_what_failed_and_passed_the_second_time() -> None:
    again = {"a.py::one": made(PASSED, "a.py::one"), "b.py::one": made(PASSED, "b.py"), "b.py::two": made(FAILED, "b.py")}
    assert outcomes.flaky(FIRST, again) == ["a.py::one"]
    assert outcomes.flaky(FIRST, {"b.py::three": made(XPASSED, "b.py")}) == ["b.py::three"]
    assert outcomes.flaky(FIRST, {"a.py::one": made(SKIPPED, "a.py::one")}) == []


def test_the_closing_line_is_pytests_own_and_counts_flaky_tests_beside_those_that_passed() -> None:
    line = outcomes.closing_line(outcomes.counts({**FIRST, "a.py::one": made(PASSED, "a.py::one")}, ["a.py::one"]), 3725.5)
    assert re.fullmatch(r"=+ 2 failed, 3 passed, 1 skipped, 1 flaky in 3725\.50s \(1:02:06\) =+", line)


def test_what_was_written_is_read_and_a_part_that_wrote_nothing_had_no_tests(tmp_path) -> None:
    outcomes.write(tmp_path / "part.json", FIRST)
    assert outcomes.read(tmp_path / "part.json") == FIRST
    assert outcomes.read(tmp_path / "none.json") == {}


def test_a_file_that_cannot_be_collected_has_failed_and_is_not_run_again() -> None:
    found = {"d.py": made(FAILED, "d.py")}
    assert (outcomes.failed(found), outcomes.units(found)) == (["d.py"], [])


def test_the_files_that_took_longest_come_first() -> None:
    found = {"a.py::one": Outcome(PASSED, 2.0, ""), "b.py::one": Outcome(FAILED, 1.5, ""), "b.py::two": Outcome(PASSED, 1.04, "")}
    assert list(outcomes.slowest_files(found, 2).items()) == [("b.py", 2.5), ("a.py", 2.0)]
    assert list(outcomes.slowest_files(found, 1)) == ["b.py"]
