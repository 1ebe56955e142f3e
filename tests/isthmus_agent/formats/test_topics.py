import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.formats import topics
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.topics import Kind, Topic

devices = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


def _fits(topic: str, pattern: str) -> bool:
    parts, wanted = topic.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(want in ("+", part) for part, want in zip(parts, wanted, strict=True))


@given(st.sampled_from(Kind), devices, devices)
def test_a_topic_is_read_as_it_was_written(kind, sender, to):
    topic = Topic(kind, sender, None if kind is Kind.PRESENCE else to)
    assert topics.read(topic.text("yard"), "yard") == topic


@given(st.sampled_from(Kind), devices, devices)
def test_a_device_may_write_its_own_topics_and_read_what_is_for_it(kind, sender, to):
    topic = Topic(kind, sender, None if kind is Kind.PRESENCE else to).text("yard")
    assert any(_fits(topic, it) for it in topics.may_write("yard", sender))
    assert any(_fits(topic, it) for it in topics.may_read("yard", to))


@given(st.sampled_from(Kind), devices, devices, devices)
def test_a_device_may_neither_write_under_anothers_name_nor_read_what_is_for_another(kind, sender, to, thief):
    topic = Topic(kind, sender, None if kind is Kind.PRESENCE else to).text("yard")
    if thief != sender:
        assert not any(_fits(topic, it) for it in topics.may_write("yard", thief))
    if thief != to and kind in (Kind.REQUEST, Kind.ANSWER):
        assert not any(_fits(topic, it) for it in topics.may_read("yard", thief))


@given(st.text() | st.lists(st.sampled_from(("isthmus", "yard", "presence", "requests", "a", "", "+", "#")), max_size=6).map("/".join))
def test_any_other_text_is_refused(text):
    with contextlib.suppress(FormatError):
        assert topics.read(text, "yard").text("yard") == text


def test_another_groups_topic_is_refused():
    with pytest.raises(FormatError, match="yard"):
        topics.read("isthmus/other/presence/a", "yard")
