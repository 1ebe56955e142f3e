"""One cut, tried: its halves, what crosses on the evaluation set, and what the tail makes of every form of it."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.build.evaluation import Arrays, Evaluation
from isthmus.compile.build.golden import largest_difference
from isthmus.compile.build.running import EdgeRunner
from isthmus.compile.halves.measured import Form
from isthmus.compile.halves.surgery import split
from isthmus.partition.cuts import Cut
from isthmus.release.manifest import TensorSpec
from isthmus_agent.features import WireFormat, WireTensor, formats

Features = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Halved:
    """A cut's halves, ready to run. head_runner: None where no layer is on the device, and the inputs are what is sent.

    head_inputs: what the head reads. sent: the tail's inputs, by name. head_bytes, tail_bytes: of the files.
    """

    head_runner: EdgeRunner | None
    tail_runner: EdgeRunner
    head_inputs: tuple[str, ...]
    sent: tuple[str, ...]
    head_bytes: int
    tail_bytes: int

    @classmethod
    def make(
        cls,
        data: bytes,
        cut: Cut | None,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        where: str,
    ) -> "Halved":
        """Both halves of a file, loaded. cut: None for that of no layers. Raises SourceError, OSError.

        Nothing stays on the disk: all cuts together are as many times the model.
        """
        if cut is None:
            return cls(None, _loaded(data, inputs, outputs, where), (), tuple(spec.name for spec in inputs), 0, len(data))
        halves = split(data, cut, where)
        sent = (*halves.sent, *halves.passed)
        head = _loaded(halves.head, _specs(halves.head_inputs), _specs(halves.sent), where)
        tail = _loaded(halves.tail, _specs(sent), outputs, where)
        return cls(head, tail, halves.head_inputs, sent, len(halves.head), len(halves.tail))

    def head_inputs_of(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        return {name: inputs[name] for name in self.head_inputs}

    def features(self, inputs: Arrays) -> Features:
        """What crosses for one request, by the names of the tail's inputs."""
        made = self.head_runner.run(self.head_inputs_of(inputs)) if self.head_runner else {}
        return {name: made[name] if name in made else np.asarray(inputs[name]) for name in self.sent}


def _loaded(data: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], where: str) -> EdgeRunner:
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        Path(file.name).write_bytes(data)
        return EdgeRunner(Path(file.name), inputs, outputs, where)


def _specs(names: Sequence[str]) -> list[TensorSpec]:
    return [TensorSpec(name, "", None) for name in names]


def try_cut(halved: Halved, evaluation: Evaluation, answers: Arrays, where: str) -> tuple[Form, ...] | str:
    """Every form that the features can be sent in; why the place is no cut after all, where it turns out to be none.

    Heads run twice: once for the ranges that scales are made of, once to send. All features of an evaluation set may fill any memory.

    Args:
        answers: the whole's.
    """
    tensors, ranges = _seen(halved, evaluation)
    if tensors is None:
        return "what crosses it changes its shape from example to example"
    forms = formats(tensors, ranges)
    sent: list[int] = [0] * len(forms)
    found: list[list[dict[str, NDArray[Any]]]] = [[] for _ in forms]
    examples = 0
    for inputs in evaluation.singles():
        features = halved.features(inputs)
        answered: dict[bool, dict[str, NDArray[Any]]] = {}
        for index, wire in enumerate(forms):
            data = wire.encode(features)
            sent[index] += len(data)
            if wire.is_quantised not in answered:  # deflated or not, the same arrives
                answered[wire.is_quantised] = halved.tail_runner.run(wire.decode(data))
            found[index].append(answered[wire.is_quantised])
        examples += 1
    tried = [_form(wire, total / examples, them, evaluation, answers) for wire, total, them in zip(forms, sent, found, strict=True)]
    return "its halves answer differently than the whole" if tried[0].largest_difference else tuple(tried)


def _form(wire: WireFormat, sent_bytes: float, found: list[Features], evaluation: Evaluation, answers: Arrays) -> Form:
    joined = {name: np.concatenate([one[name] for one in found]) for name in answers}
    return Form(wire, sent_bytes, evaluation.score(joined), largest_difference(answers, joined))


def _seen(halved: Halved, evaluation: Evaluation) -> tuple[tuple[WireTensor, ...] | None, dict[str, tuple[float, float]]]:
    """The tensors that cross, and the ranges of those that are floats; None where their shapes differ between examples."""
    tensors: tuple[WireTensor, ...] | None = None
    ranges: dict[str, tuple[float, float]] = {}
    for inputs in evaluation.singles():
        features = halved.features(inputs)
        these = tuple(WireTensor(name, values.dtype.name, values.shape) for name, values in features.items())
        if tensors is not None and these != tensors:
            return None, {}
        tensors = these
        for name, values in features.items():
            if values.dtype == np.float32:
                least, most = float(values.min(initial=0)), float(values.max(initial=0))
                low, high = ranges.get(name, (0.0, 0.0))
                ranges[name] = (float(np.minimum(low, least)), float(np.maximum(high, most)))  # a NaN stays one
    return tensors, ranges
