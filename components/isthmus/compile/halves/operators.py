"""TensorFlow's operations for the operators of a `.tflite` file, so that a server without that interpreter runs them.

Each takes real values and gives real values: what a file holds in eight bits is restored before, and rounded again behind (see
`translating`). A reshape keeps its batch open, so that a server may run several requests together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Tensor = Any  # of TensorFlow, which has no types
_PADDINGS: Final = ("SAME", "VALID")


@dataclass(frozen=True)
class Operation:
    """One operator to be translated. options: of the schema, None where it has none. inputs: real values, None for one that is left out.

    shape: of its output, for one request.
    """

    tf: Any
    options: Any
    inputs: Sequence[Tensor]
    shape: tuple[int, ...]

    def activated(self, values: Tensor) -> Tensor:
        """With the activation that the operator ends in."""
        tf, code = self.tf, getattr(self.options, "fusedActivationFunction", 0) or 0
        activations = (tf.identity, tf.nn.relu, lambda it: tf.clip_by_value(it, -1.0, 1.0), tf.nn.relu6, tf.tanh)
        return activations[code](values)

    @property
    def strides(self) -> list[int]:
        return [1, self.options.strideH, self.options.strideW, 1]

    @property
    def padding(self) -> str:
        return _PADDINGS[self.options.padding]


def _with_bias(it: Operation, values: Tensor) -> Tensor:
    bias = it.inputs[2] if len(it.inputs) > 2 else None
    return it.activated(values if bias is None else values + bias)


def _conv(it: Operation) -> Tensor:
    kernel = it.tf.transpose(it.inputs[1], [1, 2, 3, 0])  # output channels come first in the file
    dilations = [1, it.options.dilationHFactor, it.options.dilationWFactor, 1]
    return _with_bias(it, it.tf.nn.conv2d(it.inputs[0], kernel, it.strides, it.padding, dilations=dilations))


def _depthwise(it: Operation) -> Tensor:
    _, height, width, channels = it.inputs[1].shape
    kernel = it.tf.reshape(it.inputs[1], [height, width, channels // it.options.depthMultiplier, it.options.depthMultiplier])
    dilations = [it.options.dilationHFactor, it.options.dilationWFactor]
    return _with_bias(it, it.tf.nn.depthwise_conv2d(it.inputs[0], kernel, it.strides, it.padding, dilations=dilations))


def _dense(it: Operation) -> Tensor:
    values = it.tf.reshape(it.inputs[0], [-1, it.inputs[1].shape[1]])
    return _with_bias(it, it.tf.reshape(it.tf.matmul(values, it.inputs[1], transpose_b=True), [-1, *it.shape[1:]]))


def _pool(name: str) -> Callable[[Operation], Tensor]:
    def pool(it: Operation) -> Tensor:
        window = [1, it.options.filterHeight, it.options.filterWidth, 1]
        return it.activated(getattr(it.tf.nn, name)(it.inputs[0], window, it.strides, it.padding))

    return pool


def _reduced(name: str) -> Callable[[Operation], Tensor]:
    return lambda it: getattr(it.tf, name)(it.inputs[0], it.inputs[1], keepdims=bool(it.options.keepDims))


def _unary(*path: str) -> Callable[[Operation], Tensor]:
    def run(it: Operation) -> Tensor:
        found = it.tf
        for name in path:
            found = getattr(found, name)
        return found(it.inputs[0])

    return run


def _binary(name: str) -> Callable[[Operation], Tensor]:
    return lambda it: it.activated(getattr(it.tf, name)(it.inputs[0], it.inputs[1]))


def _slice(it: Operation) -> Tensor:
    values, begin, end, strides = it.inputs
    options = it.options
    masks = {f"{side}_mask": getattr(options, f"{name}Mask") for side, name in _MASKS.items()}
    return it.tf.strided_slice(values, begin, end, strides, **masks)


_MASKS: Final = {"begin": "begin", "end": "end", "ellipsis": "ellipsis", "new_axis": "newAxis", "shrink_axis": "shrinkAxis"}

OPERATIONS: Final[Mapping[str, Callable[[Operation], Tensor]]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "BATCH_MATMUL": lambda it: it.tf.matmul(*it.inputs, adjoint_a=bool(it.options.adjX), adjoint_b=bool(it.options.adjY)),
    "MAX_POOL_2D": _pool("max_pool2d"),
    "AVERAGE_POOL_2D": _pool("avg_pool2d"),
    "MEAN": _reduced("reduce_mean"),
    "SUM": _reduced("reduce_sum"),
    "REDUCE_MAX": _reduced("reduce_max"),
    "REDUCE_MIN": _reduced("reduce_min"),
    "ADD": _binary("add"),
    "SUB": _binary("subtract"),
    "MUL": _binary("multiply"),
    "DIV": _binary("divide"),
    "POW": lambda it: it.tf.pow(it.inputs[0], it.inputs[1]),
    "MAXIMUM": _binary("maximum"),
    "MINIMUM": _binary("minimum"),
    "SQUARED_DIFFERENCE": lambda it: it.tf.square(it.inputs[0] - it.inputs[1]),
    "RELU": _unary("nn", "relu"),
    "RELU6": _unary("nn", "relu6"),
    "ELU": _unary("nn", "elu"),
    "LEAKY_RELU": lambda it: it.tf.nn.leaky_relu(it.inputs[0], it.options.alpha),
    "HARD_SWISH": lambda it: it.inputs[0] * it.tf.nn.relu6(it.inputs[0] + 3.0) / 6.0,
    "GELU": lambda it: it.tf.nn.gelu(it.inputs[0], approximate=bool(it.options.approximate)),
    "TANH": _unary("tanh"),
    "LOGISTIC": _unary("sigmoid"),
    "SOFTMAX": lambda it: it.tf.nn.softmax(it.inputs[0] * it.options.beta),
    "LOG_SOFTMAX": _unary("nn", "log_softmax"),
    "SIN": _unary("sin"),
    "COS": _unary("cos"),
    "EXP": _unary("exp"),
    "LOG": _unary("math", "log"),
    "SQRT": _unary("sqrt"),
    "RSQRT": _unary("math", "rsqrt"),
    "SQUARE": _unary("square"),
    "NEG": _unary("negative"),
    "ABS": _unary("abs"),
    "QUANTIZE": _unary("identity"),
    "DEQUANTIZE": _unary("identity"),
    "RESHAPE": lambda it: it.tf.reshape(it.inputs[0], [-1, *it.shape[1:]]),
    "SQUEEZE": lambda it: it.tf.reshape(it.inputs[0], [-1, *it.shape[1:]]),
    "TRANSPOSE": lambda it: it.tf.transpose(it.inputs[0], it.inputs[1]),
    "CONCATENATION": lambda it: it.activated(it.tf.concat(list(it.inputs), it.options.axis)),
    "PAD": lambda it: it.tf.pad(it.inputs[0], it.inputs[1]),
    "STRIDED_SLICE": _slice,
    "SHAPE": _unary("shape"),
    "CAST": _unary("identity"),  # what it is cast to is the type of its output
    "ONE_HOT": lambda it: it.tf.one_hot(it.inputs[0], it.inputs[1], it.inputs[2], it.inputs[3], axis=it.options.axis),
}  # fmt: skip
