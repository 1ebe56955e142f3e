"""What is learned: weights by accuracy and correlation, and a file that devices read."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.fusion.learn import CLIPS_NATS, learn, scale_of
from isthmus.fusion.views import views_of
from isthmus_agent.core.fusion import Fusion
from isthmus_agent.formats import digests, fusion_group

RELEASE = digests.of(b"one")


def weights(group):
    return Fusion(group).weights([it.name for it in group.members])


def test_the_file_is_one_that_devices_read_and_the_same_each_time(members):
    group = learn(members([2, 1.5, 0], 0.2), RELEASE)
    assert fusion_group.read(group.to_bytes(), RELEASE, learn(members([2, 1.5, 0], 0.2), RELEASE).digest) == group
    assert group.clip in CLIPS_NATS


def test_a_member_that_is_no_better_than_chance_is_not_heard(members):
    found = weights(learn(members([2, 0, 2]), RELEASE))
    assert found["b"] == 0
    assert found["a"] > 0.8


def test_always_naming_the_most_frequent_class_is_no_better_than_chance():
    labels = np.where(np.arange(200) % 10 < 8, 0, 1)
    table = np.tile([0.8, 0.2], (200, 1))
    good = np.where(labels[:, None] == [0, 1], 0.9, 0.1)
    assert weights(learn(views_of({"same": table, "good": good}, labels, "x"), RELEASE))["same"] == 0


def test_a_member_counted_twice_has_about_the_weight_of_one(members):
    views = members([2, 2])
    doubled = views_of({name: np.exp(views.log_probabilities[place]) for name, place in (("a", 0), ("a2", 0), ("b", 1))}, views.labels, "x")
    found = weights(learn(doubled, RELEASE, 8.0))
    assert found["a"] + found["a2"] == pytest.approx(1, abs=0.15)
    assert found["b"] > 0.8


def test_a_group_of_one_answers_as_its_member_does(members):
    views = members([2])
    fusion = Fusion(learn(views, RELEASE))
    logs = views.log_probabilities[0]
    answers = [fusion.fused({"a": fusion.read(fusion.written("a", row))}).answer for row in logs.tolist()]
    assert answers == logs.argmax(axis=1).tolist()


@settings(max_examples=20)
@given(st.permutations(["a", "b", "c"]))
def test_the_order_of_the_members_changes_nothing(order):
    random = np.random.default_rng(5)
    labels = np.arange(60) % 3
    outputs = {}
    for name in "abc":
        said = np.exp(2 * np.eye(3)[labels] + random.normal(size=(60, 3)))
        outputs[name] = said / said.sum(axis=1, keepdims=True)
    found = learn(views_of({name: outputs[name] for name in order}, labels, "x"), RELEASE, 4.0)
    assert found == learn(views_of(outputs, labels, "x"), RELEASE, 4.0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_temperature_is_found_as_it_was_made(temperature, members):
    views = members([1.5], examples=4000)
    prior = np.full(views.classes, -math.log(views.classes))
    scale = scale_of(views.log_probabilities[0] / temperature, prior, views.labels)
    assert scale == pytest.approx(temperature, rel=0.08)


def test_a_member_that_was_never_wrong_has_a_temperature_and_a_strength(members):
    labels = np.arange(30) % 3
    found = learn(views_of({"a": np.eye(3)[labels]}, labels, "x"), RELEASE)
    assert 0 < found.members[0].scale_millionths < fusion_group.MOST_SCALE_MILLIONTHS
    assert 0 < found.members[0].strength_millionths < fusion_group.MOST_STRENGTH_MILLIONTHS


def test_the_cut_is_the_one_that_is_asked_for(members):
    assert learn(members([2, 2, 2]), RELEASE, 2.5).clip == 2.5
