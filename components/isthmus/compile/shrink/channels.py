"""Which channels of a model's tensors belong together, so that they can only be removed together.

Every tensor gets labels, one for each position of its last axis. A layer with filters makes new labels; pooling hands
them on, Flatten repeats them, Concatenate joins them end to end. Where two tensors are added, the labels of a position
become one class (a union-find). FIXED is the class of what must stay: inputs and outputs of the model, and whatever a
layer that this module doesn't know reads or makes. So a layer that is missing in the tables below costs size, never
correctness.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.shrink.graph import Call

Labels = NDArray[np.int64]
FIXED = 0
READ, REPEATED, MADE = "read", "repeated", "made"  # what an axis of a weight goes by: see Kind


@dataclass(frozen=True)
class Kind:
    """A layer with weights. size: the configuration's entry that says how many channels come out, where they are new.
    axes: by weight and axis, whose labels it goes by: of the tensor that is READ, these REPEATED for each of a depthwise
    kernel's multiples, or those that are MADE."""

    size: str
    axes: dict[str, dict[int, str]]


_FILTERS = {"kernel": {-2: READ, -1: MADE}, "bias": {-1: MADE}}
_TRANSPOSED = {"kernel": {-2: MADE, -1: READ}, "bias": {-1: MADE}}
_DEPTHWISE = {"kernel": {-2: READ}, "bias": {-1: REPEATED}}
_SEPARABLE = {"depthwise_kernel": {-2: READ}, "pointwise_kernel": {-2: REPEATED, -1: MADE}, "bias": {-1: MADE}}
_NORMALISED = {name: {-1: READ} for name in ("gamma", "beta", "moving_mean", "moving_variance")}

KINDS: dict[str, Kind] = {
    **{f"Conv{n}D": Kind("filters", _FILTERS) for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": Kind("filters", _TRANSPOSED) for n in (1, 2, 3)},
    **{f"SeparableConv{n}D": Kind("filters", _SEPARABLE) for n in (1, 2)},
    **{f"DepthwiseConv{n}D": Kind("", _DEPTHWISE) for n in (1, 2)},
    "Dense": Kind("units", _FILTERS),
    "Embedding": Kind("output_dim", {"embeddings": {-1: MADE}}),
    "BatchNormalization": Kind("", _NORMALISED),
    "PReLU": Kind("", {"alpha": {-1: READ}}),
}
_words = str.split
_ACTIVATIONS = _words(
    "linear relu relu6 leaky_relu elu selu celu gelu silu sigmoid tanh hard_sigmoid hard_silu hard_tanh softplus softsign mish exponential"
)
_PASSING = [
    *_words("Activation ReLU LeakyReLU ELU Identity Dropout GaussianNoise GaussianDropout ActivityRegularization"),
    *(
        f"{name}{n}D"
        for name in _words("SpatialDropout ZeroPadding Cropping UpSampling MaxPooling AveragePooling GlobalMaxPooling GlobalAveragePooling")
        for n in (1, 2, 3)
    ),
]
_JOINING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
_PASSING_OPERATIONS = ("Relu", "Relu6", "LeakyRelu", "Elu", "Gelu", "Silu", "Sigmoid", "Tanh", "HardSigmoid", "HardSilu", "Softplus")
_OPERATIONS = ("keras.src.ops.nn", "keras.src.ops.numpy")  # where `x + y` and keras.ops.relu(x) come from


@dataclass
class Channels:
    """The labels of a model's layers. read, made: by name of a layer with weights; reshaped: what a Reshape makes."""

    read: dict[str, Labels] = field(default_factory=dict)
    made: dict[str, Labels] = field(default_factory=dict)
    reshaped: dict[str, Labels] = field(default_factory=dict)
    _parents: list[int] = field(default_factory=lambda: [FIXED])

    def new(self, count: int) -> Labels:
        """Labels of classes of their own."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def join(self, one: Labels, other: Labels) -> None:
        """Makes one class of the labels at each position."""
        for left, right in zip(one, other, strict=True):
            first, second = sorted((self._root(int(left)), self._root(int(right))))
            self._parents[second] = first  # the smaller one is kept: FIXED wins

    def fix(self, labels: Labels) -> None:
        """These channels must stay."""
        self.join(labels, np.full(len(labels), FIXED))

    def classes(self, labels: Labels) -> Labels:
        """The class of each label."""
        return np.array([self._root(int(label)) for label in labels], np.int64)

    def _root(self, label: int) -> int:
        while self._parents[label] != label:
            self._parents[label] = label = self._parents[self._parents[label]]
        return label

    def axes(self, layer: Any) -> Iterator[tuple[int, int, str, Labels]]:
        """The layer's weights that go by channels: index in its weights, axis, READ, REPEATED or MADE, and the classes."""
        if layer.name not in self.read:
            return
        read = self.classes(self.read[layer.name])
        made = self.classes(self.made[layer.name])
        roles = {READ: read, REPEATED: np.repeat(read, getattr(layer, "depth_multiplier", 1)), MADE: made}
        for index, weight in enumerate(layer.weights):
            for axis, role in kind_of(layer).axes.get(weight.name, {}).items():  # type: ignore[union-attr]
                if weight.shape[axis] == len(roles[role]):  # PReLU's shared axes have one number for all channels
                    yield index, axis, role, roles[role]


def find_channels(model: Any, calls: tuple[Call, ...]) -> Channels:
    """Labels of all channels of an opened model (`graph.opened`)."""
    channels = Channels()
    labels: dict[int, Labels] = {id(tensor): np.full(_width(tensor), FIXED) for tensor in model.inputs}
    for call in calls:
        inputs = [labels.get(id(tensor), np.full(_width(tensor), FIXED)) for tensor in call.inputs]
        made = _rule(call)(channels, call, inputs)
        if made is None:
            for item in inputs:
                channels.fix(item)
            labels |= {id(tensor): np.full(_width(tensor), FIXED) for tensor in call.outputs}
        else:
            labels[id(call.outputs[0])] = made
    for tensor in model.outputs:
        channels.fix(labels[id(tensor)])
    return channels


def kind_of(layer: Any) -> Kind | None:
    """What is known of a layer with weights; None for a subclass too, whose `call` may be another."""
    name = type(layer).__name__
    return KINDS[name] if name in KINDS and _is_own(layer) else None


def is_elementwise(activation: Any) -> bool:
    """Whether the function works on each number alone; softmax, say, does not."""
    return activation is None or any(activation is known for known in _elementwise())


@cache
def _elementwise() -> tuple[Any, ...]:
    import keras

    return tuple(keras.activations.get(name) for name in _ACTIVATIONS)


def _is_own(layer: Any) -> bool:
    import keras

    return type(layer) is getattr(keras.layers, type(layer).__name__, None)


def _width(tensor: Any) -> int:
    return int(tensor.shape[-1] or 0) if len(tensor.shape) > 1 else 0


Rule = Callable[[Channels, Call, list[Labels]], Labels | None]  # labels of what the call makes; None: it is not known


def _rule(call: Call) -> Rule:
    layer, name = call.layer, type(call.layer).__name__
    if type(layer).__module__ in _OPERATIONS:
        return _pass if name in _PASSING_OPERATIONS else _join if name in _JOINING else _unknown
    if not _is_own(layer) or len(call.outputs) != 1 or not call.inputs:
        return _unknown
    if getattr(layer, "data_format", None) == "channels_first" or not is_elementwise(getattr(layer, "activation", None)):
        return _fixed_output if name in KINDS and getattr(layer, "data_format", None) != "channels_first" else _unknown
    return _RULES.get(name, _unknown)


def _unknown(channels: Channels, call: Call, inputs: list[Labels]) -> Labels | None:
    return None


def _fixed_output(channels: Channels, call: Call, inputs: list[Labels]) -> Labels | None:
    """A Dense layer with softmax, say: what it reads may shrink, what it makes may not."""
    made = _weigh(channels, call, inputs)
    if made is not None:
        channels.fix(made)
    return made


def _pass(channels: Channels, call: Call, inputs: list[Labels]) -> Labels | None:
    return inputs[0] if len(inputs) == 1 and len(inputs[0]) == _width(call.outputs[0]) else None


def _weigh(channels: Channels, call: Call, inputs: list[Labels]) -> Labels | None:
    """A layer with weights. Called a second time, it reads the same classes and makes the same labels."""
    layer, read = call.layer, inputs[0]
    kind = KINDS[type(layer).__name__]
    axis = getattr(layer, "axis", -1)  # of BatchNormalization
    if len(inputs) != 1 or getattr(layer, "groups", 1) != 1 or axis not in (-1, len(call.inputs[0].shape) - 1):
        return None
    if layer.name in channels.read:
        channels.join(channels.read[layer.name], read)
        return channels.made[layer.name]
    width = _width(call.outputs[0])
    if len(layer.weights) > len(kind.axes) or (not kind.size and width % max(len(read), 1)):
        return None  # weights of its own kind (LoRA, quantised): not known
    channels.read[layer.name] = read
    channels.made[layer.name] = made = channels.new(width) if kind.size else np.repeat(read, width // max(len(read), 1))
    return made


def _join(channels: Channels, call: Call, inputs: list[Labels]) -> Labels | None:
    width = _width(call.outputs[0])
    full = [labels for labels in inputs if len(labels) == width]
    if not full or len(inputs) == 1:  # with a constant, that may have a number for each channel
        return None
    for labels in inputs:
        if len(labels) == width:
            channels.join(full[0], labels)
        else:
            channels.fix(labels)  # one channel that goes with all others
    if len(full) < len(inputs) and width == 1:
        channels.fix(full[0])
    return full[0]


def _concatenate(channels: Channels, call: Call, inputs: list[Labels]) -> Labels | None:
    rank = len(call.outputs[0].shape)
    if call.layer.axis % rank == rank - 1:
        return np.concatenate(inputs)
    return _join(channels, call, inputs)


def _flatten(channels: Channels, call: Call, inputs: list[Labels]) -> Labels | None:
    width = _width(call.outputs[0])
    return np.tile(inputs[0], width // len(inputs[0])) if len(inputs[0]) and width and width % len(inputs[0]) == 0 else None


def _reshape(channels: Channels, call: Call, inputs: list[Labels]) -> Labels | None:
    """Known where the last axis stays, as between [N, C] and [N, 1, 1, C], or where all becomes one axis."""
    shape = call.outputs[0].shape
    same = shape[-1] and shape[-1] == call.inputs[0].shape[-1]
    made = inputs[0] if same else _flatten(channels, call, inputs) if len(shape) == 2 else None
    if made is None or call.layer.name in channels.reshaped:
        return None
    channels.reshaped[call.layer.name] = made
    return made


_RULES: dict[str, Rule] = {
    **dict.fromkeys(_PASSING, _pass),
    **dict.fromkeys(KINDS, _weigh),
    **dict.fromkeys(_JOINING, _join),
    "Concatenate": _concatenate,
    "Flatten": _flatten,
    "Reshape": _reshape,
}
