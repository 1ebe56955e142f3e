"""Mobility as Wang et al. have it (arXiv 1506.05261): a user walks over cells, and its service may follow it.

Here places are the cells that have a server, and the exogenous cell is where the user is. On a ring of odd length, distances are a
Markov chain of their own, with a wall at the greatest: their distance-based process, exact in one dimension.
"""

from collections.abc import Callable

import numpy as np
import pytest

from isthmus.migration.process import Dimension, Numbers, Process
from isthmus.migration.solve import evaluate, solve

Cost = Callable[[int], float]


def constant_plus_exponential(constant: float, scale: float, base: float) -> Cost:
    """Their general form of both costs: nothing at distance 0, then constant + scale·(1 − base^distance)."""
    return lambda distance: 0.0 if distance == 0 else constant + scale * (1 - base**distance)


MOVING = constant_plus_exponential(2.0, 3.0, 0.8)
SERVING = constant_plus_exponential(0.5, 8.0, 0.7)
DISCOUNT = 0.9


def walking(distances: np.ndarray, transition: Numbers, moving: Cost) -> Process:
    """A user on a graph: distances (n, n) between cells."""
    n = len(distances)
    moves, serves = (np.vectorize(it)(distances).astype(float) for it in (moving, SERVING))
    names = tuple(f"c{it}" for it in range(n))
    return Process(
        tuple(f"peer:{it}" for it in names),
        (Dimension("user", names),),
        transition,
        serves,
        np.repeat(moves[:, :, None], n, axis=2),
        np.ones((n, n), dtype=bool),
        DISCOUNT,
    )


def ring(n: int, r: float) -> Process:
    """One dimension: a step to either side with probability r each."""
    at = np.arange(n)
    apart = np.abs(at[:, None] - at[None])
    transition = (1 - 2 * r) * np.eye(n) + r * (np.roll(np.eye(n), 1, axis=1) + np.roll(np.eye(n), -1, axis=1))
    return walking(np.minimum(apart, n - apart), transition, MOVING)


def by_distance(away: float, nearer: float, most: int, *, moving: Cost, outermost: float) -> tuple[Numbers, np.ndarray]:
    """Their distance-based process, by plain value iteration: the value of each distance, and the distance to move to.

    away, nearer: probabilities of a step. outermost: of one nearer from the greatest distance. From 0, every step leads away.
    """
    matrix = np.zeros((most + 1, most + 1))
    for d in range(most + 1):
        up = away if d else away + nearer
        down = 0.0 if d == 0 else nearer
        if d == most:
            up, down = 0.0, outermost
        matrix[d, min(d + 1, most)] += up
        matrix[d, max(d - 1, 0)] += down
        matrix[d, d] += 1 - up - down
    value = np.zeros(most + 1)
    steps = np.arange(most + 1)
    move = np.vectorize(moving)(np.abs(steps[:, None] - steps[None])).astype(float)
    for _ in range(600):
        choices = move + (np.vectorize(SERVING)(steps) + DISCOUNT * matrix @ value)[None]
        value = choices.min(axis=1)
    return value, choices.argmin(axis=1)


@pytest.mark.parametrize("r", [0.05, 0.2, 0.4])
def test_in_one_dimension_the_distance_says_it_all(r: float) -> None:
    process = ring(21, r)
    best = solve(process)
    value, _ = by_distance(r, r, 10, moving=MOVING, outermost=r)
    at = np.arange(21)
    apart = np.minimum(np.abs(at[:, None] - at[None]), 21 - np.abs(at[:, None] - at[None]))
    np.testing.assert_allclose(best.value, value[apart], atol=1e-6)


@pytest.mark.parametrize("r", [0.05, 0.2, 0.4])
def test_the_service_moves_beyond_a_threshold_alone_and_never_away_from_the_user(r: float) -> None:
    _, to = by_distance(r, r, 10, moving=MOVING, outermost=r)
    stays = to == np.arange(11)
    threshold = int(np.argmin(stays)) if not stays.all() else 11
    assert 0 < threshold < 11
    assert stays[:threshold].all()
    assert not stays[threshold:].any()
    assert (to <= np.arange(11)).all()
    process = ring(21, r)
    policy = solve(process).next_place
    at = np.arange(21)
    apart = np.minimum(np.abs(at[:, None] - at[None]), 21 - np.abs(at[:, None] - at[None]))
    np.testing.assert_array_equal((policy == at[:, None]), apart < threshold)
    assert (apart[policy, at[None]] <= apart).all()


def hexagons(radius: int) -> np.ndarray:
    """Distances in a wrapped hexagonal mesh (Chen, Shin, Kandlur 1990): 3·radius·(radius + 1) + 1 cells, each with six neighbours."""
    e = radius + 1
    n = 3 * e * e - 3 * e + 1
    apart = np.full((n, n), -1)
    for start in range(n):
        edge, apart[start, start], steps = [start], 0, 0
        while edge:
            steps += 1
            near = {(it + sign * jump) % n for it in edge for jump in (1, 3 * e - 2, 3 * e - 1) for sign in (1, -1)}
            edge = [it for it in near if apart[start, it] < 0]
            apart[start, edge] = steps
    return apart


@pytest.mark.parametrize("r", [0.02, 0.08, 0.15])
@pytest.mark.parametrize("moving", [MOVING, constant_plus_exponential(0.5, 1.0, 0.5), constant_plus_exponential(4.0, 20.0, 0.9)])
def test_in_two_dimensions_deciding_by_distance_misses_no_more_than_their_bound(r: float, moving: Cost) -> None:
    radius = 4
    apart = hexagons(radius)
    assert [int((apart[0] == d).sum()) for d in range(radius + 1)] == [1, 6, 12, 18, 24]
    process = walking(apart, np.where(apart == 1, r, np.where(apart == 0, 1 - 6 * r, 0.0)), moving)
    # Their approximation: from a ring, 2.5 of 6 neighbours lie further out and 1.5 further in. Here the outermost ring wraps.
    _, to = by_distance(2.5 * r, 1.5 * r, radius, moving=moving, outermost=1.5 * r)
    policy = np.array([[_towards(apart, service, user, int(to[apart[service, user]])) for user in range(61)] for service in range(61)])
    misses = (evaluate(process, policy) - solve(process).value).max()
    farthest = max(moving(x + 2) - moving(x) for x in range(radius + 1))
    bound = DISCOUNT * r * farthest / (1 - DISCOUNT)
    assert 0 <= misses <= bound + 1e-6


def _towards(apart: np.ndarray, service: int, user: int, distance: int) -> int:
    """A cell at that distance from the user, on a shortest way from the service."""
    on_the_way = apart[service] + apart[:, user] == apart[service, user]
    return int(np.flatnonzero(on_the_way & (apart[:, user] == distance))[0])
