from isthmus_agent.formats.presence import Order, Presence, last
from isthmus_agent.group.membership import MOST_MEMBERS, REMEMBERED_EXPIRIES, Membership


def _word(*order: int) -> Presence:
    return Presence(Order(*order), 100)


def test_a_device_is_there_from_its_first_word_until_the_expiry():
    members = Membership(7.0)
    assert members.hear("a", _word(1, 1, 1), 100.0, is_retained=False)
    assert not members.hear("a", _word(1, 1, 2), 102.0, is_retained=False)
    assert list(members.live(108.9)) == ["a"]
    assert members.wakes_at() == 109.0
    assert not members.live(109.0)
    members.expire(109.0)
    assert members.wakes_at() is None


def test_a_retained_word_proves_no_life():
    members = Membership(7.0)
    assert not members.hear("a", _word(1, 1, 5), 0.0, is_retained=True)
    assert not members.live(0.0)
    assert not members.hear("a", _word(1, 1, 5), 0.0, is_retained=False), "the same word again: it was sent twice"
    assert members.hear("a", _word(1, 1, 6), 0.0, is_retained=False)


def test_an_old_word_is_no_news():
    members = Membership(7.0)
    members.hear("a", _word(2, 1, 1), 0.0, is_retained=False)
    assert not members.hear("a", _word(1, 9, 9), 1.0, is_retained=False)
    assert members.wakes_at() == 7.0
    assert members.refused == 1


def test_the_will_of_a_connection_that_broke_does_not_end_the_next_one():
    members = Membership(7.0)
    members.hear("a", _word(1, 1, 1), 0.0, is_retained=False)
    members.hear("a", _word(1, 2, 1), 1.0, is_retained=False)
    members.hear("a", Presence(last(1, 1)), 2.0, is_retained=False)
    assert list(members.live(2.0)) == ["a"]
    members.hear("a", Presence(last(1, 2)), 3.0, is_retained=False)
    assert not members.live(3.0)


def test_a_device_that_was_set_up_anew_is_taken_when_the_old_one_is_forgotten():
    members = Membership(7.0)
    members.hear("a", _word(9, 1, 1), 0.0, is_retained=False)
    assert not members.hear("a", _word(1, 1, 1), 60.0, is_retained=False)
    assert members.hear("a", _word(1, 1, 2), 7.0 * REMEMBERED_EXPIRIES, is_retained=False)


def test_there_is_a_bound_on_members():
    members = Membership(7.0)
    for it in range(MOST_MEMBERS + 5):
        members.hear(f"d{it}", _word(1, 1, 1), 0.0, is_retained=False)
    assert len(members.live(0.0)) == MOST_MEMBERS
    assert members.refused == 5
