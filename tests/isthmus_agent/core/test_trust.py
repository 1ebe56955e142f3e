"""What a device remembers of who lies."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.isthmus_agent.core.test_fusion import CLASSES, CLIP, EVIDENCE, drawn, group_of, groups

from isthmus_agent.core.fusion import Fusion, set_aside_at_most
from isthmus_agent.core.trust import BEGINS, ENDS, START_NATS, Memory, Trust, against, right_share
from isthmus_agent.formats.numbers import FormatError


def naming(k):
    return tuple(0.0 if it == k else -CLIP for it in range(CLASSES))


def told(trust, truth, lies=None, times=1):
    """Everybody names the truth but for who lies: by member, the class."""
    for _ in range(times):
        found = trust.fused({it.name: naming((lies or {}).get(it.name, truth)) for it in trust.fusion.group.members})
    return found


def trust_of(*strengths):
    return Trust(Fusion(group_of(strengths)))


@given(groups(least=3), st.data())
def test_at_first_it_answers_as_somebody_without_memory(group, data):
    said = drawn(data, group)
    assert Trust(Fusion(group)).fused(said) == Fusion(group).fused(said)


@given(groups(), st.data())
def test_whatever_is_said_at_most_so_many_are_out_and_what_is_kept_is_bounded(group, data):
    trust, telling = Trust(Fusion(group)), len(group.members)
    for said in data.draw(st.lists(st.fixed_dictionaries({it.name: EVIDENCE for it in group.members}), max_size=20)):
        trust.fused(said)
    assert len(trust.distrusted) <= set_aside_at_most(range(telling))
    # One answer's worth beyond what the chances to begin and to end allow.
    most = max(abs(against([math.log(1e-9), 0.0, -9.0], named, right)) for named in range(3) for right in trust._shares) + 40
    assert all(math.log(BEGINS) - most <= it <= -math.log(ENDS) + most for it in trust.memory.nats)


def test_who_lies_again_and_again_is_not_heard_after_some_answers_and_the_others_are():
    trust = trust_of(9, 9, 9, 9, 9)
    told(trust, 0, {"c": 1})
    assert trust.distrusted == ()  # an honest member errs so now and then
    told(trust, 0, {"c": 1}, times=12)
    assert trust.distrusted == ("c",)
    assert "c" not in told(trust, 0, {"c": 1}).weights


def test_a_liar_that_turned_honest_members_answers_does_not_once_it_is_known():
    trust = trust_of(4, 4, 4, 4)
    unsure = {"a": (0.0, -0.25, -CLIP), "b": (0.0, -0.25, -CLIP), "d": (-0.25, 0.0, -CLIP)}
    lie = {"c": naming(1)}
    assert trust.fused(unsure | lie).answer == 1
    told(trust, 0, {"c": 1}, times=15)
    assert trust.fused(unsure | lie).answer == 0


def test_who_was_honest_for_long_is_found_out_as_fast_as_a_new_one():
    def needed(before):
        trust = trust_of(9, 9, 9, 9, 9)
        told(trust, 0, times=before) if before else None
        for number in range(1, 50):
            told(trust, 2, {"b": 1})
            if trust.distrusted:
                return number
        return None

    assert needed(0) <= needed(1) == needed(500) <= 10


def test_who_was_mended_is_heard_again():
    trust = trust_of(9, 9, 9, 9, 9)
    told(trust, 0, {"c": 1}, times=1000)
    assert trust.distrusted == ("c",)
    told(trust, 0, times=20)
    assert trust.distrusted == ()


def test_what_a_liar_had_others_suspected_of_is_taken_back_when_it_goes():
    memory = Memory((1.0, 3.0, 2.5, START_NATS))
    after = memory.after({0: 0.0, 1: 1.0, 2: 0.0, 3: 0.0})
    assert after.out == {1}
    assert after.nats[0] == after.nats[2] == START_NATS


def test_two_liars_that_say_different_things_both_go():
    trust = trust_of(*[9] * 6)
    told(trust, 0, {"b": 1, "e": 2}, times=40)
    assert trust.distrusted == ("b", "e")


def test_of_three_liars_in_four_not_more_than_one_goes():
    trust = trust_of(9, 9, 9, 9)
    told(trust, 0, {"b": 1, "c": 1, "d": 1}, times=60)
    assert len(trust.distrusted) == 1


def test_of_two_who_contradict_each_other_nobody_is_distrusted():
    trust = trust_of(9, 9)
    told(trust, 0, {"b": 1}, times=50)
    assert trust.distrusted == ()
    assert trust.memory == Memory.new(2)


def test_where_only_those_have_answered_who_are_distrusted_they_are_heard():
    trust = trust_of(9, 9, 9, 9)
    told(trust, 0, {"c": 1}, times=15)
    assert trust.fused({"c": naming(1)}).weights == {"c": pytest.approx(1)}
    assert trust.fused({}).weights == {}
    assert trust.distrusted == ("c",)


def test_who_is_no_better_than_chance_is_neither_heard_nor_distrusted():
    trust = trust_of(9, 9, 9, 9, 0)
    told(trust, 0, {"e": 1}, times=50)
    assert trust.distrusted == ()


def test_who_is_no_member_is_refused_and_changes_nothing():
    trust = trust_of(9, 9, 9)
    with pytest.raises(FormatError, match="no member"):
        trust.fused({"a": naming(0), "z": naming(1)})
    assert trust.memory == Memory.new(3)


@given(st.lists(st.floats(-30, 0), min_size=2, max_size=6), st.floats(0.3, 0.999))
def test_what_is_held_against_a_member_is_a_ratio_of_two_distributions(held, right):
    """The sum over all classes of P(honest)·(P(lies) / P(honest)) is that of P(lies): 1."""
    shares = np.exp(held) / np.exp(held).sum()
    honest = right * shares + (1 - right) * (1 - shares) / (len(held) - 1)
    assert honest.sum() == pytest.approx(1)
    assert sum(p * math.exp(against(held, k, right)) for k, p in enumerate(honest)) == pytest.approx(1)


@given(st.integers(2, 40), st.floats(0.01, 140))
def test_the_share_that_a_strength_stands_for_is_the_one_it_was_made_of(classes, strength_):
    from isthmus.fusion.measures import strength

    found = right_share(strength_, classes)
    assert 1 / classes < found < 1
    if found < 0.999:
        assert strength(found, classes) == pytest.approx(strength_, rel=1e-4, abs=1e-6)


def test_an_honest_group_distrusts_hardly_anybody():
    """Simulated members whose errors are as the model has them: 5,000 answers, right in nine of ten."""
    random = np.random.default_rng(5)
    trust, out = trust_of(*[right_strength()] * 5), 0
    for _ in range(1000):
        truth = int(random.integers(CLASSES))
        named = {it: truth if random.random() < 0.9 else int((truth + random.integers(1, CLASSES)) % CLASSES) for it in "abcde"}
        trust.fused({name: naming(k) for name, k in named.items()})
        out += len(trust.distrusted)
    assert out / 5000 < 0.005


def right_strength():
    from isthmus.fusion.measures import strength

    return strength(0.9, CLASSES)
