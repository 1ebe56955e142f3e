import pytest
from toolchain.testing import lanes


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


@pytest.mark.parametrize(
    ("marks", "said"), [({"alone": (), "lane": ("slow",)}, "expected one of"), ({"lane": ("machines",)}, "without `alone`")]
)
def test_a_lane_that_no_part_would_run_is_refused(marks: dict[str, tuple[object, ...]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lanes.part_of(marks)
