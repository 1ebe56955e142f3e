"""Distillation: a smaller student learns the teacher's answers beside the right ones, by keras.distillation."""

from typing import Any

from isthmus.compile.recipes import Step
from isthmus.compile.shrink.graph import copy, weight_count
from isthmus.compile.shrink.narrow import narrow, to_width
from isthmus.compile.shrink.training import Progress, Training
from isthmus.errors import Problem, SourceError

TEMPERATURE = 3.0
STUDENT_LOSS_WEIGHT = 0.5
SMALLEST_PROBABILITY = 1e-7


def distil(model: Any, step: Step, training: Training | None, progress: Progress, where: str) -> Any:
    """`distil:50%`: a student of that share of each layer's width, that starts as the most important part of its teacher.
    `distil:FUNCTION`: the model that this function of the folder's model.py returns."""
    import keras

    assert training is not None  # noqa: S101  (shrink saw to it)
    teacher = copy(model, where)
    if step.function:
        student = _fitting(training.call(step.function, where), teacher, step, where)
    else:
        student = narrow(teacher, to_width((step.percent or 0) / 100), where).model
    progress(f"{step.text}: a student of {weight_count(student)} weights, its teacher has {weight_count(teacher)}")
    distiller = keras.distillation.Distiller(teacher, student, _loss(teacher), student_loss_weight=STUDENT_LOSS_WEIGHT)
    training.fit(distiller, training.epochs_of(step.name), progress=progress, text=f"{step.text}: train", where=where)
    return student


def _fitting(student: Any, teacher: Any, step: Step, where: str) -> Any:
    """The user's student, checked to answer the same requests in the same form."""
    import keras

    if not isinstance(student, keras.Model):
        raise SourceError([Problem(where, f"{step.function} returned {type(student).__name__}", "a Keras model")])
    student = copy(student, where)
    for kind in ("input", "output"):
        mine, wanted = (_described(model, kind) for model in (student, teacher))
        if mine != wanted:
            what = f"the student's {kind}s are {mine}, its teacher's {wanted}"
            raise SourceError([Problem(where, what, "the same names and shapes", f"name and shape them so in {step.function}")])
    return student


def _described(model: Any, kind: str) -> dict[str, tuple[int | None, ...]]:
    names = [tensor.name for tensor in model.inputs] if kind == "input" else model.output_names
    return {name: tuple(tensor.shape) for name, tensor in zip(names, getattr(model, f"{kind}s"), strict=True)}


def _loss(teacher: Any) -> Any:
    """What the student pays for each output that differs from its teacher's.

    Probabilities are softened by TEMPERATURE before they are compared. LogitsDistillation does that to logits, but models
    here end in softmax; the logarithm of a probability is a logit, up to a constant that softmax takes out again. Its
    loss must be the KLDivergence object: the string form skips the softmax, and the student learns nothing.
    """
    import keras

    kinds = [_answer(tensor) for tensor in teacher.outputs]
    divergence = keras.distillation.LogitsDistillation(TEMPERATURE, keras.losses.KLDivergence())

    class Answers(keras.distillation.DistillationLoss):  # type: ignore[misc]
        """The sum over the outputs."""

        def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **_: Any) -> Any:
            pairs = zip(keras.tree.flatten(teacher_outputs), keras.tree.flatten(student_outputs), kinds, strict=True)
            return sum((_LOSSES[kind](divergence, taught, learnt) for taught, learnt, kind in pairs), start=0.0)

    return Answers()


def _answer(tensor: Any) -> str:
    """How an output is to be read: by the activation that made it."""
    import keras

    layer = tensor._keras_history.operation
    activation = keras.activations.softmax if isinstance(layer, keras.layers.Softmax) else getattr(layer, "activation", None)
    return {keras.activations.softmax: "classes", keras.activations.sigmoid: "chances"}.get(activation, "numbers")


def _classes(divergence: Any, taught: Any, learnt: Any) -> Any:
    import keras

    return divergence.compute_loss(*(keras.ops.log(keras.ops.maximum(item, SMALLEST_PROBABILITY)) for item in (taught, learnt)))


def _chances(divergence: Any, taught: Any, learnt: Any) -> Any:
    """Each number is the probability of one of two classes."""
    import keras

    return _classes(divergence, *(keras.ops.stack([item, 1 - item], axis=-1) for item in (taught, learnt)))


def _numbers(_: Any, taught: Any, learnt: Any) -> Any:
    import keras

    return keras.ops.mean(keras.ops.square(taught - learnt))


_LOSSES = {"classes": _classes, "chances": _chances, "numbers": _numbers}
