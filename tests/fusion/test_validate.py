"""What a group is worth is said of examples that it was not learned from."""

import numpy as np
import pytest

from isthmus.fusion.batch import evidence_of, fused
from isthmus.fusion.learn import learn
from isthmus.fusion.lies import blind_lies, worst_lies
from isthmus.fusion.validate import FOLDS, answer_bytes, folds, validate
from isthmus_agent.core.fusion import Fusion


def test_members_who_err_apart_are_together_better_than_the_best(members):
    found = validate(members([1.5] * 5), 3.0)
    assert found.gain.low > 0.05
    assert found.group.value == pytest.approx(found.gain.value + max(it.alone.value for it in found.members))
    assert all(it.without.value <= found.group.value + 0.03 for it in found.members)


def test_members_who_err_alike_show_no_gain(members):
    found = validate(members([1.5] * 3, 0.999), 3.0)
    assert found.gain.low <= 0 <= found.gain.high


def test_a_group_of_one_gains_and_loses_nothing(members):
    found = validate(members([1.5]))
    assert found.gain.value == 0
    assert (found.lost_missing, found.lost_lying, found.lost_worst_and_missing, found.members[0].without) == (None,) * 4


def test_one_that_lies_costs_little_and_in_the_worst_way_more(members):
    found = validate(members([2.5] * 6), 3.0)
    assert found.lost_lying_and_missing.value < 0.02
    assert found.lost_worst.value >= found.lost_lying.value
    assert found.lost_worst.value < 0.1


def test_without_a_cut_one_that_lies_costs_more(members):
    views = members([2.5] * 6)
    assert validate(views, 16.0).lost_worst.value > 2 * validate(views, 3.0).lost_worst.value


def test_no_lie_is_worse_than_the_worst(members):
    views = members([1.5] * 4)
    group = learn(views, "", 3.0)
    fusion, evidence, everybody = Fusion(group), evidence_of(group, views), np.ones((4, len(views.labels)), bool)
    right = [fused(fusion, lies(fusion, evidence, views.labels, 2, everybody)).answers == views.labels for lies in (blind_lies, worst_lies)]
    assert right[1].sum() <= right[0].sum()


def test_folds_have_the_classes_in_equal_shares():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    counts = [np.bincount(labels[folds(labels) == number]).tolist() for number in range(FOLDS)]
    assert counts == [[10, 6, 4]] * FOLDS


def test_who_is_not_heard_sends_nothing(members):
    views = members([0, 0])
    assert answer_bytes(learn(views, ""), views) == 0
    assert validate(views).answer_bytes == 0
