"""The laws of a group's answer."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from isthmus_agent.core.fusion import Fusion
from isthmus_agent.formats import digests
from isthmus_agent.formats.evidence import evidence_of
from isthmus_agent.formats.fusion_group import FusionGroup, Member
from isthmus_agent.formats.numbers import MILLION, FormatError

RELEASE = digests.of(b"one")
CLIP, CLASSES = 4.0, 3
NAMES = "abcdef"


def group_of(strengths, correlations=None, log_prior=(-1099,) * CLASSES):
    """correlations: the whole matrix; None: of members who err apart."""
    count = len(strengths)
    found = np.eye(count) if correlations is None else np.asarray(correlations)
    rows = tuple(tuple(round(float(found[i, j]) * MILLION) for j in range(i)) for i in range(count))
    members = tuple(Member(NAMES[place], MILLION, round(it * MILLION)) for place, it in enumerate(strengths))
    return FusionGroup(RELEASE, round(CLIP * 1000), members, rows, log_prior)


def matrix(count, seed):
    """Correlations, none negative, that can be together."""
    factors = np.abs(np.random.default_rng(seed).normal(size=(count, 3)))
    covariances = factors @ factors.T + np.diag(np.random.default_rng(seed + 1).uniform(0.3, 2, count))
    deviations = np.sqrt(np.diag(covariances))
    return covariances / np.outer(deviations, deviations)


@st.composite
def groups(draw, least=1, prior=False):
    count = draw(st.integers(least, 6))
    strengths = draw(st.lists(st.floats(0.1, 20), min_size=count, max_size=count))
    log_prior = draw(st.lists(st.integers(-3000, 0), min_size=CLASSES, max_size=CLASSES)) if prior else [-1099] * CLASSES
    return group_of(strengths, matrix(count, draw(st.integers(0, 10_000))), tuple(log_prior))


EVIDENCE = st.lists(st.integers(-16, 0), min_size=CLASSES, max_size=CLASSES).map(lambda it: tuple((x - max(it)) * CLIP / 16 for x in it))


def drawn(data, group, names=None):
    return {it.name: data.draw(EVIDENCE) for it in group.members if names is None or it.name in names}


@given(groups(prior=True), st.data())
def test_the_order_in_which_answers_came_changes_nothing(group, data):
    said = drawn(data, group)
    other = dict(data.draw(st.permutations(list(said.items()))))
    assert Fusion(group).fused(other) == Fusion(group).fused(said)


@given(groups(least=2), st.data())
def test_members_under_other_names_give_the_same_answer(group, data):
    said = drawn(data, group)
    order = data.draw(st.permutations(range(len(group.members))))
    correlations = np.array(group.correlations)[np.ix_(order, order)]
    strengths = [group.members[place].strength_millionths / MILLION for place in order]
    renamed = {NAMES[new]: said[NAMES[old]] for new, old in enumerate(order)}
    first, second = Fusion(group).fused(said), Fusion(group_of(strengths, correlations)).fused(renamed)
    assume(not first.set_aside and not second.set_aside)  # of several who are as far out the first by name goes
    assert second.probabilities == pytest.approx(first.probabilities, abs=1e-6)


@given(st.floats(0.1, 50), st.lists(st.floats(0.02, 1), min_size=CLASSES, max_size=CLASSES))
def test_a_group_of_one_answers_as_its_member_does(strength, shares):
    probabilities = [share / sum(shares) for share in shares]
    fusion = Fusion(group_of([strength]))
    found = fusion.fused({"a": evidence_of([math.log(it) for it in probabilities], 1.0, fusion.group.log_prior, CLIP)})
    assert found.weights == {"a": pytest.approx(1)}
    assert found.probabilities == pytest.approx(probabilities)


def test_members_who_err_apart_weigh_one_and_those_who_err_alike_share_it():
    assert Fusion(group_of([4, 9, 1])).weights("abc") == pytest.approx({"a": 1, "b": 1, "c": 1})
    assert Fusion(group_of([4, 4], [[1, 0.98], [0.98, 1]])).weights("ab") == pytest.approx({"a": 1 / 1.98, "b": 1 / 1.98})


@given(groups(), st.data())
def test_weights_are_the_least_of_the_models_sum_and_none_is_negative_or_above_one(group, data):
    names = data.draw(st.lists(st.sampled_from([it.name for it in group.members]), min_size=1, unique=True))
    places = sorted(group.places[name] for name in names)
    distances = np.sqrt([group.members[place].strength_millionths / MILLION for place in places])
    covariances = np.array(group.correlations)[np.ix_(places, places)] * np.outer(distances, distances)
    weights = np.array(list(Fusion(group).weights(names).values()))
    assert ((weights >= 0) & (weights <= 1)).all()
    slope = (covariances @ weights - np.diag(covariances)) / np.diag(covariances)
    assert slope[weights > 0] == pytest.approx(0, abs=1e-6)
    assert (slope > -1e-6).all()


@given(groups(least=2, prior=True), st.data())
def test_who_is_missing_is_integrated_out_as_if_the_group_had_never_had_them(group, data):
    names = data.draw(st.lists(st.sampled_from([it.name for it in group.members]), min_size=1, unique=True))
    said = drawn(data, group, names)
    assert Fusion(group).fused(said) == Fusion(group.of(names)).fused(said)


def test_weights_of_who_is_left_are_solved_for_anew_and_not_scaled():
    fusion = Fusion(group_of([9, 9, 9], [[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]]))
    assert fusion.weights("abc") == pytest.approx({"a": 1 / 1.9, "b": 1 / 1.9, "c": 1})
    assert fusion.weights("ac") == pytest.approx({"a": 1, "c": 1})  # scaled, c would weigh twice as much as a


@given(groups(), st.data())
def test_more_evidence_for_a_class_never_makes_it_less_likely(group, data):
    said = drawn(data, group)
    name, k = data.draw(st.sampled_from(list(said))), data.draw(st.integers(0, CLASSES - 1))
    raised = list(said[name])
    raised[k] += data.draw(st.floats(0, CLIP))
    more = said | {name: evidence_of(raised, 1.0, (0.0,) * CLASSES, CLIP)}
    first, second = Fusion(group).fused(said), Fusion(group).fused(more)
    assume(not first.set_aside and not second.set_aside)
    assert second.probabilities[k] >= first.probabilities[k] - 1e-9


SURE, LIE = (0.0, -CLIP, -CLIP), (-CLIP, 0.0, -CLIP)


AGAINST = st.tuples(st.floats(-CLIP, -CLIP / 2), st.floats(-CLIP, -CLIP / 2))


@given(groups(least=4), st.data())
def test_one_liar_never_turns_the_answer_of_others_who_are_agreed_and_sure(group, data):
    liar = data.draw(st.sampled_from([it.name for it in group.members]))
    others = {it.name: (0.0, *data.draw(AGAINST)) for it in group.members if it.name != liar}
    alone = Fusion(group).fused(others)
    lead = math.log(alone.probabilities[0]) - math.log(max(alone.probabilities[1:]))
    assume(not alone.set_aside and lead > CLIP)
    found = Fusion(group).fused(others | {liar: data.draw(EVIDENCE)})
    assert found.answer == 0
    assert set(found.set_aside) <= {liar}


def test_a_sum_of_what_is_not_cut_is_turned_by_one_liar():
    honest, lie = np.log([0.9, 0.05, 0.05]), np.log([1e-9, 1 - 2e-9, 1e-9])
    assert np.argmax(2 * honest + lie) == 1
    fusion = Fusion(group_of([9, 9, 9]))
    wire = {"a": fusion.written("a", honest), "b": fusion.written("b", honest), "c": fusion.written("c", lie)}
    assert fusion.fused({name: fusion.read(payload) for name, payload in wire.items()}).answer == 0


def test_a_liar_is_named_and_the_rest_are_as_sure_as_without_it():
    fusion = Fusion(group_of([9, 9, 9, 9]))
    rest = dict.fromkeys("abd", SURE)
    found = fusion.fused(rest | {"c": LIE})
    assert found.set_aside == ("c",)
    assert found.probabilities == fusion.fused(rest).probabilities


def test_nobody_is_set_aside_where_the_others_hold_less_than_one_alone_could_say():
    unsure = {"a": (0.0, -3.0, -CLIP), "b": (0.0, -0.5, -0.5), "c": LIE}
    fusion = Fusion(group_of([9, 9, 9]))
    assert fusion.fused(unsure).set_aside == ()
    assert fusion.fused(unsure | {"b": (0.0, -1.5, -0.5)}).set_aside == ("c",)


def test_of_two_who_contradict_each_other_nobody_is_set_aside():
    found = Fusion(group_of([9, 9])).fused({"a": SURE, "b": LIE})
    assert found.set_aside == ()
    assert found.probabilities[0] == pytest.approx(found.probabilities[1])


def test_more_than_half_stay_whoever_they_are():
    found = Fusion(group_of([9] * 5)).fused({"a": SURE, "b": SURE, "c": SURE, "d": LIE, "e": (-CLIP, -CLIP, 0.0)})
    assert set(found.set_aside) == {"d", "e"}
    assert found.answer == 0


def test_who_is_no_better_than_chance_is_not_heard():
    fusion = Fusion(group_of([9, 9, 0]))
    found = fusion.fused({"a": SURE, "b": SURE, "c": LIE})
    assert found.weights["c"] == 0
    assert found.set_aside == ()
    assert found.probabilities == fusion.fused({"a": SURE, "b": SURE}).probabilities


def test_where_nobody_answers_the_answer_is_the_priors():
    prior = tuple(round(1000 * math.log(it)) for it in (0.2, 0.7, 0.1))
    found = Fusion(group_of([4, 4], log_prior=prior)).fused({})
    assert found.answer == 1
    assert found.probabilities == pytest.approx((0.2, 0.7, 0.1), abs=1e-3)


def test_who_is_no_member_and_what_has_other_classes_is_refused():
    fusion = Fusion(group_of([4, 4]))
    with pytest.raises(FormatError, match="no member of the group, expected one of a, b"):
        fusion.fused({"z": SURE})
    with pytest.raises(FormatError, match="a: evidence of 2 classes, expected 3"):
        fusion.fused({"a": (0.0, -1.0)})
    with pytest.raises(FormatError):
        fusion.read(b"\xff\xff\xff")


def test_what_is_kept_of_weights_is_bounded(monkeypatch):
    monkeypatch.setattr("isthmus_agent.core.fusion._MOST_REMEMBERED", 2)
    fusion = Fusion(group_of([4, 4, 4]))
    for names in ("a", "b", "c", "ab"):
        fusion.weights(names)
    assert len(fusion._weights) <= 2
