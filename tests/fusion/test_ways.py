"""A head on what members see, and how it is held against what they say."""

import numpy as np
import pytest
from tests.fusion.conftest import made

from isthmus.fusion.embedded import Embedded
from isthmus.fusion.head import learn_head
from isthmus.fusion.validate import parts_of
from isthmus.fusion.views import views_of
from isthmus.fusion.ways import AUTO, FEATURES, LOG_ODDS, compare

CLASSES, SIZE = 4, 6


def seen(noise: float, members: int = 4, examples: int = 240, seed: int = 3) -> Embedded:
    """Embeddings of members: a point for each class, and noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(examples) % CLASSES
    points = random.normal(size=(members, CLASSES, SIZE))
    values = points[:, labels] + random.normal(0, noise, (members, examples, SIZE))
    return Embedded(tuple("abcdefgh"[:members]), values, labels, CLASSES)


def right(head, embedded, missing=()):
    answered = np.ones(embedded.values.shape[:2], bool)
    answered[list(missing)] = False
    return float((head.logits(embedded.values, answered).argmax(axis=1) == embedded.labels).mean())


def test_a_head_of_all_is_better_than_one_of_a_single_member():
    embedded = seen(1.5)
    head = learn_head(embedded.of(np.arange(240) < 120))
    held = embedded.of(np.arange(240) >= 120)
    assert right(head, held) > right(head, held, missing=(1, 2, 3)) + 0.1


def test_leaving_members_out_is_what_a_mean_over_lots_of_drawn_ones_is():
    """The closed form against the thing itself: ridge regression on copies with members left out by lot."""
    embedded = seen(1.0, members=3, examples=80)
    head, random, copies = learn_head(embedded, 0.4), np.random.default_rng(0), 3000
    mean, deviation = embedded.values.mean(axis=1), embedded.values.std(axis=1)
    standard = ((embedded.values - mean[:, None]) / deviation[:, None]).transpose(1, 0, 2).reshape(80, -1)
    lots = np.repeat(random.random((copies, 80, 3)) >= 0.4, SIZE, axis=2)
    rows = (lots * standard).reshape(copies * 80, -1)
    truth = np.tile(np.eye(CLASSES)[embedded.labels] - 1 / CLASSES, (copies, 1))
    drawn = np.linalg.solve(rows.T @ rows / len(rows) + np.eye(rows.shape[1]), rows.T @ truth / len(rows))
    closed = head.kernel * deviation.reshape(-1, 1)
    scale = (closed * drawn).sum() / (drawn**2).sum()  # one temperature for all
    assert closed == pytest.approx(scale * drawn, abs=0.02 * np.abs(closed).max())


def test_who_is_missing_is_stood_in_for_by_its_mean_whatever_lies_in_its_place():
    embedded = seen(1.0)
    head, answered = learn_head(embedded), np.ones((4, 240), bool)
    answered[2] = False
    spoilt = embedded.values.copy()
    spoilt[2] = 1e9
    assert head.logits(spoilt, answered) == pytest.approx(head.logits(embedded.values, answered))


def test_numbers_that_never_vary_and_classes_that_are_rare_do_no_harm():
    embedded = seen(1.0)
    values = embedded.values.copy()
    values[:, :, 0] = 7
    head = learn_head(Embedded(embedded.members, values, embedded.labels, CLASSES + 1))
    assert np.isfinite(head.kernel).all()
    assert not head.kernel[:: SIZE * 4].any()


def both(noise, distance, input_bytes, asked=AUTO, members=4):
    outputs, labels = made([distance] * members, examples=240)
    views = views_of(outputs, labels, "x")
    return compare(parts_of(views, 3.0), seen(noise, members), 1.5, input_bytes, asked)


@pytest.mark.slow
def test_features_are_chosen_where_they_are_right_more_often_in_fewer_bytes():
    found = both(0.5, 0.8, 10_000, members=8)
    assert found.above.low > 0
    assert found.chosen == FEATURES
    assert (found.log_odds.answer_bytes, found.features.answer_bytes) == (1.5, SIZE)


@pytest.mark.parametrize(
    ("noise", "distance", "input_bytes", "reason"),
    [(3.0, 3.0, 10_000, "not shown to be right more often"), (0.8, 1.0, 100, "6 bytes and the input itself 100")],
)
def test_else_what_members_say_is_chosen_and_the_reason_is_given(noise, distance, input_bytes, reason):
    found = both(noise, distance, input_bytes)
    assert found.chosen == LOG_ODDS
    assert reason in found.reason


def test_a_way_that_is_asked_for_is_taken():
    found = both(3.0, 3.0, 100, FEATURES)
    assert (found.chosen, found.reason) == (FEATURES, "asked for")


def test_in_a_group_of_two_nobody_is_missing_beside_a_liar():
    assert both(1.0, 2.0, 100, members=2).features.lost_swapped_and_missing is None
