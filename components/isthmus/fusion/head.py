"""One answer of all members' embeddings, one after the other: a dense layer that is trained to do with members missing.

It is ridge regression of the classes on the embeddings, each number in its standard deviations, with members left out by lot while it is
trained. The mean over all lots has a closed form, so that nothing is drawn (marginalised corruption: van der Maaten et al., ICML 2013):

    W = (C ∘ M + λ·I)⁻¹ (1 - δ) Zᵀ(Y - π) / N,    C = ZᵀZ / N,    M_ij = 1 - δ for two numbers of one member, (1 - δ)² of two members

Z: embeddings [N, inputs], with mean 0. Y: the right classes, as unit vectors. π: their shares. δ: the chance that a member is left out.
Its scores are made log-odds by one temperature, which minimises the log-loss of scores that were not trained on (as evidence has it).
For a member that is missing its mean stands in: a zero of Z.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from isthmus.fusion.batch import Truths
from isthmus.fusion.embedded import Bytes, Embedded
from isthmus.fusion.learn import scale_of
from isthmus.fusion.validate import folds
from isthmus.fusion.views import Numbers

LEFT_OUT: Final = 0.3
"""δ. Between 0.2 and 0.5 nothing differs that 450 examples tell; without it, one that lies costs half as much again."""
RIDGE: Final = 1.0
"""λ. From 0.1 to 3 the share of right answers is the same within what 450 examples tell."""
_LEAST_DEVIATION: Final = 1e-6
"""Of the largest one; numbers that vary less are taken for constant, and not weighed."""


@dataclass(frozen=True)
class Head:
    """kernel: [members·size, classes]. bias: [classes]. instead: [members, size], what stands in for a missing member. wire: how members
    send their numbers. Its softmax is the answer's probabilities."""

    kernel: Numbers
    bias: Numbers
    instead: Numbers
    wire: Bytes

    def inputs(self, values: Numbers, answered: Truths) -> Numbers:
        """[examples, members·size], as they arrive. values: [members, examples, size]. answered: [members, examples]."""
        heard = np.where(answered[..., None], self.wire.arrived(values), self.instead[:, None, :])
        return np.asarray(heard.transpose(1, 0, 2).reshape(values.shape[1], -1))

    def logits(self, values: Numbers, answered: Truths) -> Numbers:
        """[examples, classes]."""
        return np.asarray(self.inputs(values, answered) @ self.kernel + self.bias)


def learn_head(embedded: Embedded, left_out: float = LEFT_OUT) -> Head:
    """The head of these examples. left_out: δ, in [0, 1)."""
    fold, scores = folds(embedded.labels), np.empty((len(embedded.labels), embedded.classes))
    for number in np.unique(fold):
        kernel, bias, *_ = _solved(embedded.of(fold != number), left_out)
        here = embedded.values[:, fold == number]
        scores[fold == number] = here.transpose(1, 0, 2).reshape(here.shape[1], -1) @ kernel + bias
    log_prior = np.log((np.bincount(embedded.labels, minlength=embedded.classes) + 1) / (len(embedded.labels) + embedded.classes))
    scale = scale_of(scores, log_prior, embedded.labels)
    kernel, bias, mean = _solved(embedded, left_out)
    return Head(scale * kernel, scale * bias + log_prior, mean, Bytes.of(embedded.values))


def _solved(embedded: Embedded, left_out: float) -> tuple[Numbers, Numbers, Numbers]:
    """The kernel and bias of Y - π, and the members' means [members, size]."""
    members, examples, size = embedded.values.shape
    mean = embedded.values.mean(axis=1)
    deviation = embedded.values.std(axis=1).reshape(-1)
    weighed = deviation > _LEAST_DEVIATION * deviation.max()
    per_deviation = np.where(weighed, 1 / np.where(weighed, deviation, 1), 0)
    centred = (embedded.values - mean[:, None, :]).transpose(1, 0, 2).reshape(examples, -1) * per_deviation
    truth = np.eye(embedded.classes)[embedded.labels]
    stays = 1 - left_out
    together = np.full((members, members), stays**2)
    np.fill_diagonal(together, stays)
    covariance = centred.T @ centred / examples * np.kron(together, np.ones((size, size)))
    covariance[np.diag_indices(len(covariance))] += RIDGE
    kernel = np.linalg.solve(covariance, stays * centred.T @ (truth - truth.mean(axis=0)) / examples) * per_deviation[:, None]
    return kernel, -mean.reshape(-1) @ kernel, mean
