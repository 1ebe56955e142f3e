"""Made-up members: Gaussian ones, whose errors correlate as one says, so that what is measured can be held against what is true."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from isthmus.fusion.views import Views, views_of

CLASSES = 4


def made(
    distances: Sequence[float], correlation: float = 0.0, examples: int = 400, seed: int = 1, classes: int = CLASSES
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What members `a`, `b`, … answer, and the labels. distances: d′ of each; 0 is chance. correlation: of all pairs' errors."""
    random = np.random.default_rng(seed)
    labels = np.arange(examples) % classes
    shared, outputs = random.normal(size=(examples, classes)), {}
    for place, distance in enumerate(distances):
        error = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * random.normal(size=(examples, classes))
        said = distance * (distance * np.eye(classes)[labels] + error)
        powers = np.exp(said - said.max(axis=1, keepdims=True))
        outputs["abcdefgh"[place]] = powers / powers.sum(axis=1, keepdims=True)
    return outputs, labels


@pytest.fixture
def members() -> Callable[..., Views]:
    """The checked answers of such members."""

    def of(*arguments: object, **options: object) -> Views:
        return views_of(*made(*arguments, **options), "views")  # type: ignore[arg-type]

    return of
