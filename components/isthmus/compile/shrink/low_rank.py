"""Low rank: one large kernel becomes two small ones, by singular value decomposition, where that takes fewer weights.

A kernel seen as a matrix [n, m] (n = what one output reads, m = outputs) of rank r is a product [n, r] [r, m]. A
convolution becomes one with r filters and a 1×1 convolution after it. Both factors get √σ, so that their weights have
ranges alike and quantise equally well.
"""

from typing import Any

import numpy as np

from isthmus.compile.shrink.channels import kind_of
from isthmus.compile.shrink.graph import Part, opened, rewrite

MIN_SAVED_WEIGHTS = 512
"""An operator more costs about half a kilobyte in a .tflite file; what pays must save more than that even at 8 bits."""
_SPLIT = ("Dense", "Conv1D", "Conv2D", "Conv3D")


def factorise(model: Any, energy: float, where: str) -> tuple[Any, int]:
    """A copy in which kernels are products of two, and how many are.

    Args:
        energy: the share of each kernel's Σσ² = Σw² that is kept, in (0, 1]; the rank is the smallest one that does. At 1
            nothing but rounding changes: only kernels that are of lower rank are split.

    Raises SourceError where the model cannot be taken apart.
    """
    model, _ = opened(model, where)
    split = []

    def change(layer: Any) -> list[Part] | None:
        if type(layer).__name__ not in _SPLIT or kind_of(layer) is None or getattr(layer, "groups", 1) != 1 or len(layer.weights) > 2:
            return None
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            return None
        rank = paying_rank(layer.get_weights()[0], energy)
        if rank is None:
            return None
        split.append(layer.name)
        return list(factors(layer, rank))

    return rewrite(model, change), len(split)


def paying_rank(kernel: Any, energy: float) -> int | None:
    """The smallest rank that keeps this share of Σw²; None where two kernels of it would not be smaller than the one."""
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    squares = np.linalg.svd(matrix, compute_uv=False) ** 2
    left = 1 - np.cumsum(squares) / (squares.sum() or 1.0)  # what each rank leaves out
    tolerance = np.finfo(np.float32).eps ** 2 * max(matrix.shape)  # of float32 weights, anything smaller is rounding
    rank = int(np.argmax(left <= max(1 - energy, tolerance))) + 1
    saved = matrix.size - rank * sum(matrix.shape)
    return rank if saved >= MIN_SAVED_WEIGHTS else None


def factors(layer: Any, rank: int) -> tuple[Part, Part]:
    """The two layers that do what the layer does, up to what the rank leaves out. The second one keeps its name."""
    import keras

    kernel, *bias = layer.get_weights()
    u, sigma, v = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]).astype(np.float64), full_matrices=False)
    root = np.sqrt(sigma[:rank])
    first = (u[:, :rank] * root).reshape(*kernel.shape[:-1], rank).astype(np.float32)
    second = (root[:, None] * v[:rank]).astype(np.float32)
    config = layer.get_config()
    size = "units" if type(layer).__name__ == "Dense" else "filters"
    plain = {"activation": "linear", "use_bias": False, "bias_regularizer": None, "activity_regularizer": None}
    basis = layer.__class__.from_config({**config, **plain, size: rank, "name": f"{layer.name}_basis"})
    if size == "filters":
        ones = {"kernel_size": 1, "strides": 1, "dilation_rate": 1, "padding": "valid"}
        after = layer.__class__.from_config({**config, **ones})
        second = second.reshape(*[1] * (kernel.ndim - 2), *second.shape)
    else:
        after = keras.layers.Dense.from_config(config)
    return Part(basis, [first]), Part(after, [second, *bias])
