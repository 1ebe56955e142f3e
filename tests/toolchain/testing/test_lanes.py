from pathlib import Path

import pytest
from toolchain.testing import lanes

PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("marks", "part"),
    [
        ({}, lanes.SIDE_BY_SIDE),
        ({"slow": ()}, lanes.SIDE_BY_SIDE),
        ({"alone": ()}, lanes.QUIET),
        ({"alone": (), "lane": ("machines",)}, "machines"),
    ],
)
def test_every_test_belongs_to_one_part(marks: dict[str, tuple[object, ...]], part: str) -> None:
    assert lanes.part_of(marks) == part


def test_files_that_share_what_takes_long_to_start_stay_together() -> None:
    assert lanes.unit_of("tests/provider/docker/test_gateway.py") == lanes.unit_of("tests/provider/docker/test_docker_server.py")
    assert lanes.unit_of("tests/provider/test_golden.py") == "tests/provider/test_golden.py"
    assert [folder for folder in lanes.TOGETHER if not (PROJECT / folder).is_dir()] == []


@pytest.mark.parametrize(
    ("marks", "said"), [({"alone": (), "lane": ("slow",)}, "expected one of"), ({"lane": ("machines",)}, "without `alone`")]
)
def test_a_lane_that_no_part_would_run_is_refused(marks: dict[str, tuple[object, ...]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lanes.part_of(marks)
