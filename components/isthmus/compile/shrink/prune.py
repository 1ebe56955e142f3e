"""Magnitude pruning: the least important weights become exactly zero, more of them as training goes on.

The share of zeros follows a cubic (Zhu and Gupta, 2017): fast at first, while many weights matter little. Which weights
go is decided over the whole network by LAMP (Lee et al., 2021): w² divided by Σ of all w² in its layer that are not
smaller, so that no layer dries up. Zeros save nothing by themselves; they make a file compress better.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.recipes import Step
from isthmus.compile.shrink.graph import copy
from isthmus.compile.shrink.training import Progress, Training
from isthmus.errors import Problem, SourceError

RAMP_SHARE = 0.6
"""When the last weight goes, as a share of the training: what is left of it mends what that cost."""
UPDATES_PER_EPOCH = 4
_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "embeddings")


def prune(model: Any, step: Step, training: Training | None, progress: Progress, where: str) -> Any:
    """`prune:80%`: that share of all kernels' weights is zero in the result."""
    assert training is not None  # noqa: S101  (shrink saw to it)
    share = (step.percent or 0) / 100
    model = copy(model, where)
    kernels = [weight for weight in model.trainable_weights if weight.name in _KERNELS]
    if not kernels:
        raise SourceError([Problem(where, "the model has no trainable kernels to prune", "dense layers, convolutions or the like")])
    masks = _Masks(kernels)
    training.fit(
        model,
        training.epochs_of(step.name),
        [_schedule(masks, share)],
        progress=progress,
        text=f"{step.text}: fine-tune",
        where=where,
    )
    masks.release()
    masks.update(share)  # also where training stopped early
    return model


def zero_share(progress: float, share: float) -> float:
    """How many weights are zero at this point of the training (0 … 1), as a share of all."""
    left = max(0.0, 1 - progress / RAMP_SHARE)
    return share * (1 - left**3)


def scores(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """LAMP's score of each weight; the largest one of a layer has 1, so that it stays longest."""
    squares = np.square(weights.ravel(), dtype=np.float64)
    order = np.argsort(squares, kind="stable")
    not_smaller = np.cumsum(squares[order][::-1])[::-1]
    result = np.empty_like(squares)
    result[order] = np.divide(squares[order], not_smaller, out=np.zeros_like(squares), where=not_smaller > 0)
    return result.reshape(weights.shape)


class _Masks:
    """One mask for each kernel. A constraint multiplies by it after every step of the optimiser, inside the compiled
    step: what is zero stays so, whatever the optimiser's momentum says."""

    def __init__(self, kernels: Sequence[Any]) -> None:
        import keras

        self._kernels = kernels
        self._own = [kernel.constraint for kernel in kernels]
        self._masks = [keras.Variable(np.ones(kernel.shape, np.float32), trainable=False, name="mask") for kernel in kernels]
        for kernel, mask, own in zip(kernels, self._masks, self._own, strict=True):
            kernel.constraint = lambda value, mask=mask, own=own: (own(value) if own else value) * mask

    def update(self, share: float) -> None:
        """Sets this share of all weights to zero, those with the lowest scores. What was zero stays so: its score is 0."""
        values = [np.asarray(kernel) for kernel in self._kernels]
        ranked = np.concatenate([scores(value).ravel() for value in values])
        kept = np.ones(ranked.size, np.float32)
        kept[np.argsort(ranked, kind="stable")[: round(share * ranked.size)]] = 0
        start = 0
        for kernel, mask, value in zip(self._kernels, self._masks, values, strict=True):
            chosen = kept[start : start + value.size].reshape(value.shape)
            start += value.size
            mask.assign(chosen)
            kernel.assign(np.where(chosen > 0, value, 0))

    def release(self) -> None:
        for kernel, own in zip(self._kernels, self._own, strict=True):
            kernel.constraint = own


def _schedule(masks: _Masks, share: float) -> Any:
    import keras

    class Schedule(keras.callbacks.Callback):  # type: ignore[misc]
        """Updates the masks UPDATES_PER_EPOCH times while zeros are still to come."""

        def __init__(self) -> None:
            super().__init__()
            self.epoch, self.zeros = 0, 0.0

        def _go(self, into_epoch: float) -> None:
            wanted = zero_share((self.epoch + into_epoch) / max(1, self.params.get("epochs") or 1), share)
            if wanted > self.zeros:
                self.zeros = wanted
                masks.update(wanted)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch
            self._go(0.0)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            steps = self.params.get("steps")  # not known in the first epoch of some data
            if steps and (batch + 1) % max(1, steps // UPDATES_PER_EPOCH) == 0:
                self._go((batch + 1) / steps)

    return Schedule()
