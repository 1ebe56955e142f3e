"""Fields of the repository's metadata, bounded."""

import pytest

from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.signed_fields import MOST_EPOCH, epoch_in, epochs_field, numbers_of, root_in, signed_at_in, signed_field


def test_what_was_written_is_read():
    assert epoch_in(epochs_field({"cameras": 3}), "cameras") == 3
    assert signed_at_in(signed_field(1_795_000_000)) == 1_795_000_000
    assert [root_in(it) for it in (signed_field(1, 7), signed_field(1), None)] == [7, 0, 0]


@pytest.mark.parametrize("field", [None, {}, {"epochs": {}}, {"epochs": {"doors": 4}}, "text"])
def test_a_fleet_of_which_nothing_is_said_is_in_its_first_epoch(field: object):
    assert epoch_in(field, "cameras") == 0


@pytest.mark.parametrize("epoch", [-1, MOST_EPOCH + 1, 10**400, True, 1.0, "1", None])
def test_what_is_no_epoch_is_refused(epoch: object):
    with pytest.raises(FormatError):
        epoch_in({"epochs": {"cameras": epoch}}, "cameras")


@pytest.mark.parametrize("time", [-1, 2**40, True, "now"])
def test_what_is_no_time_is_refused(time: object):
    with pytest.raises(FormatError):
        signed_at_in({"signed_at": time})


@pytest.mark.parametrize("version", [-1, 10**400, True, "2"])
def test_what_is_no_version_is_refused(version: object):
    with pytest.raises(FormatError):
        root_in({"root": version})


def test_epochs_leave_room_above_all_that_a_fleets_key_can_say():
    assert numbers_of(0).start == 1
    assert numbers_of(1).start > numbers_of(0)[-1]
    assert numbers_of(MOST_EPOCH)[-1] <= 2**53
