"""A whole device, killed right before each system call by which an update changes its disk: all of its processes, at once."""

from pathlib import Path

import pytest
from tests.isthmus_agent.cutting import EVERY_SECONDS, REPORTED, LawBrokenError, bench, need_wish, some
from tests.isthmus_agent.living import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(EVERY_SECONDS)]
CALLS = 5
"""Of about 110. Each costs a start of the program."""
NOTHING_KEPT = """
import os
real = os.replace
def replace(new, file):
    if len(os.path.basename(file)) == 64:
        real(new, file)
    else:
        os.unlink(new)
os.replace = replace
"""
"""Contents get their names; nothing else is kept. One mark, note, or report that waits would be enough to know the number by."""


@pytest.mark.parametrize("how_many", ["some", "every"])
@pytest.mark.parametrize("by_delta", [False, True], ids=["whole", "delta"])
def test_killed_at_calls_all_over_an_update_the_law_holds(fleet: Fleet, tmp_path: Path, how_many: str, *, by_delta: bool):
    need_wish(how_many)
    with bench(fleet, tmp_path) as device:
        calls = device.record(by_delta=by_delta)
        chosen = calls if how_many == "every" else some(calls, CALLS, 0.5 * by_delta)
        for call in chosen:
            device.cut_at(call, by_delta=by_delta)
        assert len(device.missed) <= len(chosen) // 5, device.missed


def test_a_program_that_keeps_what_it_knows_in_memory_alone_is_found_out(fleet: Fleet, tmp_path: Path):
    with bench(fleet, tmp_path, broken=NOTHING_KEPT) as device, pytest.raises(LawBrokenError, match="played back"):
        device.cut_at(REPORTED)
