"""The table of structure steps, and doing one of them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from isthmus.compile.recipes import Step
from isthmus.compile.shrink.distil import distil
from isthmus.compile.shrink.prune import prune
from isthmus.compile.shrink.prune_filters import prune_filters
from isthmus.compile.shrink.slim import slim
from isthmus.compile.shrink.training import Progress, Training, no_training
from isthmus.errors import Problem, SourceError

SEED = 1
StepFunction = Callable[[Any, Step, Training | None, Progress, str], Any]

STEPS: dict[str, StepFunction] = {"distil": distil, "prune-filters": prune_filters, "slim": slim, "prune": prune}


def shrink(model: Any, step: Step, training: Training | None, progress: Progress, where: str) -> Any:
    """The model after one structure step: a new one, with the same names and shapes of inputs and outputs.

    Args:
        model: a functional Keras model, or a Sequential one that starts with keras.Input. It stays as it is.
        step: one whose name is in STEPS.
        training: from `load_training`; its deadline is one for all steps of a recipe.
        progress: gets a line of text per epoch.
        where: property path of the model, for problems.

    Raises:
        SourceError: the model cannot be taken apart; the step needs training and there is none; the training function
            fails, never ends or leaves weights that are no numbers.
    """
    import keras
    import tensorflow as tf

    if step.needs_training and training is None:
        raise no_training(step.text, where)
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    changed = STEPS[step.name](model, step, training, progress, where)
    _check(model, changed, step, where)
    return changed


def _check(before: Any, after: Any, step: Step, where: str) -> None:
    """What the release's signature says of the source must hold for every variant of it."""
    described = [[(tensor.name, tuple(tensor.shape)) for tensor in model.inputs] for model in (before, after)]
    made = [
        [(name, tuple(tensor.shape)) for name, tensor in zip(model.output_names, model.outputs, strict=True)] for model in (before, after)
    ]
    for kind, (old, new) in (("inputs", described), ("outputs", made)):
        if old != new:
            raise SourceError([Problem(where, f"{step.text} changed the model's {kind} from {old} to {new}", "the same names and shapes")])
    for weight in after.weights:
        if not math.isfinite(float(np.sum(np.asarray(weight), dtype=np.float64))):
            what = f"after {step.text} the weights {weight.path!r} have values that are no numbers (NaN or infinite)"
            raise SourceError(
                [Problem(where, what, "finite weights", "lower the learning rate in the fit function, or clip its gradients")]
            )
