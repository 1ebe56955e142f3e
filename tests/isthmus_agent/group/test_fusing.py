"""Answers that a group gives together: one for each event, of what had come by then, in whatever order."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.core.fusion import Fusion
from isthmus_agent.formats import digests, said
from isthmus_agent.formats.fusion_group import FusionGroup, Member
from isthmus_agent.formats.numbers import MILLION, FormatError
from isthmus_agent.formats.said import Said
from isthmus_agent.group.fusing import Answered, AskedAlreadyError, Bounds, BusyError, Fusing, Publish

VIEWS = ("door", "north", "quay")
CLASSES = 3
GROUP = FusionGroup(
    digests.of(b"release"),
    4000,
    tuple(Member(name, MILLION, (3 + place) * MILLION) for place, name in enumerate(VIEWS)),
    ((), (200_000,), (0, 100_000)),
    (-1099,) * CLASSES,
)
OTHER = FusionGroup(digests.of(b"another"), 4000, GROUP.members, GROUP.correlations_millionths, GROUP.log_prior_millinats)
# The devices beside "own", which is at the door.
DEVICES = {"b": "north", "c": "quay"}
ANSWERS = st.lists(st.floats(0.01, 1), min_size=CLASSES, max_size=CLASSES).map(lambda it: tuple(math.log(x / sum(it)) for x in it))
SURE = (math.log(0.98), math.log(0.01), math.log(0.01))


def made(bounds=Bounds(), present=("own", *DEVICES)):  # noqa: B008 (frozen)
    found = Fusing("own", "door", GROUP, bounds)
    if present is not None:
        assert found.present(present, 0.0) == []
    return found


def word(view, answer=SURE, event="e", group=GROUP):
    """What a device with that view says."""
    evidence = Fusion(group).written(view, answer)
    return said.encoded(Said(said.tag_of(group.digest), VIEWS.index(view), event, evidence))


def fused_of(answers):
    """What `core.fusion` gives for answers by view, each as it is read from the wire."""
    fusion = Fusion(GROUP)
    return fusion.fused({view: fusion.read(fusion.written(view, answer)) for view, answer in answers.items()})


def answered(effects):
    return [it for it in effects if isinstance(it, Answered)]


@given(st.lists(ANSWERS, min_size=3, max_size=3), st.data())
def test_in_whatever_order_they_come_the_answer_is_the_one_of_all_and_comes_with_the_last(answers, data):
    own, *others = answers
    fusing = made()
    steps = [lambda: fusing.ask("e", own, 0.0, 1.0)]
    steps += [lambda it=it: fusing.heard(it[0], word(DEVICES[it[0]], it[1]), 0.0) for it in zip(DEVICES, others, strict=True)]
    effects = [step() for step in data.draw(st.permutations(steps))]
    assert not [it for found in effects[:-1] for it in answered(found)]
    [answer] = answered(effects[-1])
    assert answer.fused == fused_of(dict(zip(VIEWS, answers, strict=True)))
    assert answer.heard == VIEWS


ARRIVALS = st.lists(
    st.tuples(st.sampled_from(["b", "c", "own", "stranger"]), st.sampled_from(VIEWS), st.sampled_from("xyz"), st.booleans(), ANSWERS),
    max_size=30,
)


@given(ARRIVALS, st.lists(st.tuples(st.integers(0, 30), st.sampled_from("xyz"), ANSWERS), max_size=6), st.integers(0, 3))
def test_an_event_has_one_answer_at_most_and_by_its_deadline(arrivals, asked, twice):
    fusing, answers, deadlines = made(), [], {}

    def take(effects, now):
        for it in answered(effects):
            assert now <= deadlines[it.event]
            assert "door" in it.heard
            answers.append(it.event)

    for now, (device, view, event, is_ours, answer) in enumerate(arrivals):
        for at, its, own in asked:
            if at == now:
                try:
                    deadlines.setdefault(its, now + 4)
                    take(fusing.ask(its, own, now, 4), now)
                except AskedAlreadyError:
                    pass
        for _ in range(1 + (twice == now % 4)):
            take(fusing.heard(device, word(view, answer, event, GROUP if is_ours else OTHER), now), now)
        due = fusing.wakes_at
        if due is not None and due <= now:
            take(fusing.tick(now), now)
    while (due := fusing.wakes_at) is not None:
        take(fusing.tick(due), due)
    assert sorted(answers) == sorted({it for at, it, _ in asked if at < len(arrivals)})
    assert all(peer.words == peer.bytes == 0 for peer in fusing._peers.values())


def test_a_missing_member_is_left_out_at_the_deadline_and_a_late_one_counted():
    fusing = made()
    [publish] = fusing.ask("e", SURE, 0.0, 1.0)
    assert publish == Publish(word("door"))
    assert fusing.heard("b", word("north"), 0.5) == []
    assert fusing.wakes_at == 1.0
    assert fusing.tick(0.99) == []
    [answer] = fusing.tick(1.0)
    assert answer.fused == fused_of({"door": SURE, "north": SURE})
    assert answer.heard == ("door", "north")
    assert fusing.heard("c", word("quay"), 1.1) == []
    assert fusing.heard("c", word("quay"), 1.2) == []
    assert (fusing.counts.fused, fusing.counts.late, fusing.counts.repeated) == (1, 1, 1)


def test_whoever_is_not_there_is_not_waited_for():
    fusing = made(present=("own", "b"))
    fusing.ask("e", SURE, 0.0, 1.0)
    [answer] = fusing.heard("b", word("north"), 0.1)
    assert answer.heard == ("door", "north")
    assert made(present=("own",)).ask("e", SURE, 0.0, 1.0)[1].heard == ("door",)


def test_a_member_that_leaves_is_waited_for_no_more_at_once():
    fusing = made()
    fusing.ask("e", SURE, 0.0, 1.0)
    assert fusing.heard("b", word("north"), 0.1) == []
    [answer] = fusing.present(("own", "b"), 0.2)
    assert answer.heard == ("door", "north")


def test_before_the_bus_says_who_is_there_all_views_are_waited_for():
    fusing = made(present=None)
    assert len(fusing.ask("e", SURE, 0.0, 1.0)) == 1
    assert fusing.heard("b", word("north"), 0.1) == []
    [answer] = fusing.heard("c", word("quay"), 0.2)
    assert answer.heard == VIEWS


def test_one_that_is_there_and_never_answers_is_soon_not_waited_for_and_is_again_when_it_is_heard():
    fusing = made(present=("own", "c"))
    for event in ("1", "2", "3"):
        assert len(fusing.ask(event, SURE, 0.0, 1.0)) == 1
        assert len(fusing.tick(1.0)) == 1
    assert len(answered(fusing.ask("4", SURE, 2.0, 1.0))) == 1
    fusing.heard("c", word("quay", event="4"), 2.1)
    assert answered(fusing.ask("5", SURE, 3.0, 1.0)) == []


def test_evidence_of_another_release_is_in_no_answer_and_counted_and_its_member_not_waited_for():
    fusing = made(present=("own", "b"))
    fusing.ask("e", SURE, 0.0, 1.0)
    [answer] = fusing.heard("b", word("north", group=OTHER), 0.1)
    assert answer.heard == ("door",)
    assert fusing.counts.other_release == 1


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        said.encoded(Said(said.tag_of(GROUP.digest), 3, "e", b"\x00")),  # a view that the file has not
        said.encoded(Said(said.tag_of(GROUP.digest), 1, "e", b"\xff")),
        said.encoded(Said(said.tag_of(GROUP.digest), 1, "e", bytes(1000))),
    ],
)
def test_what_no_member_can_have_said_is_refused_and_counted(payload):
    fusing = made()
    fusing.ask("e", SURE, 0.0, 1.0)
    assert fusing.heard("b", payload, 0.1) == []
    assert fusing.counts.refused == 1
    assert fusing.tick(1.0)[0].heard == ("door",)


def test_a_device_is_heard_once_of_an_event_and_so_stands_for_one_view():
    fusing = made()
    fusing.ask("e", SURE, 0.0, 1.0)
    lie = (math.log(0.01), math.log(0.98), math.log(0.01))
    assert fusing.heard("b", word("north"), 0.1) == []
    assert fusing.heard("b", word("north", lie), 0.1) == []
    assert fusing.heard("b", word("quay", lie), 0.1) == []
    assert fusing.counts.repeated == 2
    assert fusing.tick(1.0)[0].fused == fused_of({"door": SURE, "north": SURE})


def test_nobody_else_speaks_for_the_devices_own_view():
    fusing = made(present=("own", "b"))
    fusing.heard("b", word("door", (math.log(0.01), math.log(0.98), math.log(0.01))), 0.0)
    [answer] = answered(fusing.ask("e", SURE, 0.1, 1.0))
    assert answer.fused == fused_of({"door": SURE})


def test_a_view_that_lies_again_and_again_is_not_heard_any_more_and_status_says_so():
    fusing = made()
    lie = (math.log(0.01), math.log(0.98), math.log(0.01))
    answers = []
    for number in range(60):
        event = f"{number}"
        fusing.heard("b", word("north", event=event), number)
        fusing.heard("c", word("quay", lie, event), number)
        answers += answered(fusing.ask(event, SURE, number, 1.0))
    assert (answers[0].heard, fusing.status()["distrusted"]) == (VIEWS, ("quay",))
    assert answers[-1].heard == ("door", "north")
    assert answers[-1].fused.probabilities == fused_of({"door": SURE, "north": SURE}).probabilities


def test_an_event_is_asked_once():
    fusing = made(present=None)
    fusing.ask("e", SURE, 0.0, 1.0)
    with pytest.raises(AskedAlreadyError):
        fusing.ask("e", SURE, 0.1, 1.0)
    fusing.tick(1.0)
    with pytest.raises(AskedAlreadyError):
        fusing.ask("e", SURE, 2.0, 1.0)
    assert fusing.ask("e", SURE, 2.0 + Bounds().answered_seconds, 1.0)


@pytest.mark.parametrize("answer", [(0.0,), (math.nan,) * CLASSES, (-math.inf,) * CLASSES])
def test_what_is_no_answer_of_this_group_is_not_said_and_leaves_nothing(answer):
    fusing = made()
    with pytest.raises(FormatError):
        fusing.ask("e", answer, 0.0, 1.0)
    assert fusing.wakes_at is None


def test_a_view_that_the_group_has_not_is_refused():
    with pytest.raises(FormatError, match="no member of the group, expected one of door, north, quay"):
        Fusing("own", "roof", GROUP)


def test_too_many_events_are_refused():
    fusing = made(Bounds(most_asked=1))
    fusing.ask("e", SURE, 0.0, 1.0)
    with pytest.raises(BusyError):
        fusing.ask("f", SURE, 0.0, 1.0)


@given(st.integers(1, 5), st.integers(1, 40))
def test_who_floods_the_group_fills_its_own_share_alone(most, words):
    fusing = made(Bounds(most_words=most))
    for number in range(words):
        fusing.heard("b", word("north", event=f"flood-{number}"), 0.0)
    fusing.heard("c", word("quay"), 0.0)
    assert fusing.status()["early"] == min(most, words) + 1
    assert fusing.counts.turned_away == max(0, words - most)
    fusing.tick(Bounds().early_seconds)
    assert (fusing.status()["early"], fusing.counts.unasked) == (0, min(most, words) + 1)


def test_of_devices_no_more_are_known_than_the_bound_and_those_who_are_gone_make_room():
    fusing = made(Bounds(most_devices=2))
    for number in range(5):
        fusing.heard(f"stranger-{number}", word("quay", event=f"{number}"), 0.0)
    assert (fusing.status()["early"], fusing.counts.turned_away) == (2, 3)
    fusing.tick(Bounds().early_seconds)
    fusing.heard("b", word("north"), 20.0)
    assert fusing.status()["early"] == 1
