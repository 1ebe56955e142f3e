"""Folding batch normalisation into the layer before it: at inference both are linear, so that one can do the work of two.

y = γ (Wx + b − μ) / √(σ² + ε) + β is W'x + b' with W' = sW, b' = s (b − μ) + β, s = γ / √(σ² + ε).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.shrink.channels import MADE, REPEATED, kind_of
from isthmus.compile.shrink.graph import Call, Part, opened, rewrite


def fold(model: Any, where: str) -> tuple[Any, int]:
    """A copy that answers as the model does at inference, and how many normalisations were folded into a layer before.

    One stays where the layer before has an activation of its own, is read elsewhere too or used twice, and where it
    makes an output of the model. Raises SourceError where the model cannot be taken apart.
    """
    model, calls = opened(model, where)
    pairs = _pairs(model, calls)
    folded = {normalised.name for normalised in pairs.values()}

    def change(layer: Any) -> list[Part] | None:
        if layer.name in folded:
            return []
        return [_scaled(layer, pairs[layer.name])] if layer.name in pairs else None

    return rewrite(model, change), len(pairs)


def _pairs(model: Any, calls: tuple[Call, ...]) -> dict[str, Any]:
    """The normalisation that follows, by the name of the layer that can take it in."""
    maker = {id(tensor): call for call in calls for tensor in call.outputs}
    readers: dict[int, int] = {}
    uses: dict[int, int] = {}
    for call in calls:
        uses[id(call.layer)] = uses.get(id(call.layer), 0) + 1
        for tensor in call.inputs:
            readers[id(tensor)] = readers.get(id(tensor), 0) + 1
    outputs = {id(tensor) for tensor in model.outputs}
    pairs = {}
    for call in calls:
        before = maker.get(id(call.inputs[0])) if call.inputs else None
        if (
            before is not None
            and type(call.layer).__name__ == "BatchNormalization"
            and kind_of(call.layer) is not None
            and call.layer.axis in (-1, len(call.inputs[0].shape) - 1)
            and _is_linear(before.layer)
            and uses[id(call.layer)] == uses[id(before.layer)] == readers[id(call.inputs[0])] == 1
            and not outputs & {id(call.inputs[0]), id(call.outputs[0])}
        ):
            pairs[before.layer.name] = call.layer
    return pairs


def _is_linear(layer: Any) -> bool:
    import keras

    kind = kind_of(layer)
    has_kernel = kind is not None and any("kernel" in name for name in kind.axes) and len(layer.weights) <= len(kind.axes)
    last = getattr(layer, "data_format", "channels_last") == "channels_last"
    return has_kernel and last and layer.activation in (None, keras.activations.linear)


def _scaled(layer: Any, normalised: Any) -> Part:
    scale, shift = affine(normalised)
    kind = kind_of(layer)
    assert kind is not None  # noqa: S101  (_is_linear saw it)
    weights = {weight.name: value for weight, value in zip(layer.weights, layer.get_weights(), strict=True)}
    name = "pointwise_kernel" if "pointwise_kernel" in weights else "kernel"  # of two kernels, the last one is scaled
    kernel, axes = weights[name].astype(np.float64), kind.axes[name]
    if MADE in axes.values():
        axis = next(axis for axis, role in axes.items() if role == MADE)
        kernel = kernel * scale.reshape([-1 if index == kernel.ndim + axis else 1 for index in range(kernel.ndim)])
    else:
        assert kind.axes["bias"][-1] == REPEATED  # noqa: S101  (a depthwise kernel [..., channels, multiples])
        kernel = kernel * scale.reshape(kernel.shape[-2:])
    weights[name] = kernel.astype(np.float32)
    weights["bias"] = (weights.get("bias", np.float64(0)) * scale + shift).astype(np.float32)
    renewed = layer.__class__.from_config({**layer.get_config(), "use_bias": True})
    return Part(renewed, list(weights.values()))  # the bias is the last one, with and without


def affine(normalised: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """s and β − sμ [channels]: what the layer does at inference is s x + (β − sμ)."""
    mean, variance = (np.asarray(value, np.float64) for value in (normalised.moving_mean, normalised.moving_variance))
    gamma = np.asarray(normalised.gamma, np.float64) if normalised.scale else np.ones_like(mean)
    beta = np.asarray(normalised.beta, np.float64) if normalised.center else np.zeros_like(mean)
    scale = gamma / np.sqrt(variance + normalised.epsilon)
    return scale, beta - scale * mean
