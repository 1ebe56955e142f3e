"""Taking whole filters out of a model: everything that reads or normalises what they made shrinks with them.

How much a filter matters is Σw² of the weights that make it times Σw² of those that read it. The product, as the scale
of a filter can move freely from the one side to the other (ReLU is homogeneous) without any change of what the model
computes. Batch normalisation sets the scale anew, so that its γ²/(variance + ε) is a third factor. Filters are compared
after division by the mean of their family, the filters that the same layers make.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.shrink.channels import FIXED, MADE, Channels, find_channels, kind_of
from isthmus.compile.shrink.graph import Part, opened, rewrite
from isthmus.errors import Problem, SourceError

MIN_SHARE = 0.1
"""Of each family at least this share is kept: a layer without filters would cut the network in two."""

Families = Mapping[frozenset[str], Mapping[int, float]]
"""Importance of each removable class of channels, 1 on average, by the names of the layers that make it."""
Choose = Callable[[Families], set[int]]
"""The classes to take out."""


@dataclass(frozen=True)
class Narrowed:
    """model: the smaller one. removed, removable: how many filters went, of how many that could have gone."""

    model: Any
    removed: int
    removable: int


def narrow(model: Any, choose: Choose, where: str) -> Narrowed:
    """A copy of the model without the filters that `choose` names.

    Raises:
        SourceError: the model cannot be taken apart, or has no filter that could be removed.
    """
    model, calls = opened(model, where)
    channels = find_channels(model, calls)
    families = _families(model, channels)
    removable = sum(len(classes) for classes in families.values())
    if not removable:
        what = "no layer of the model has filters that could be removed: inputs, outputs, or layers that only work whole read them all"
        raise SourceError([Problem(where, what, "convolutions or dense layers with hidden ones between", "use a recipe without this step")])
    removed = choose(families)
    return Narrowed(_without(model, channels, removed), len(removed), removable)


def least_important(share: float) -> Choose:
    """This share of all filters, the least important ones wherever they are, but MIN_SHARE of each family stays."""

    def choose(families: Families) -> set[int]:
        spare = []
        for classes in families.values():
            ranked = sorted((importance, number) for number, importance in classes.items())
            spare += ranked[: len(ranked) - _at_least_one(MIN_SHARE * len(ranked))]
        wanted = round(share * sum(len(classes) for classes in families.values()))
        return {number for _, number in sorted(spare)[:wanted]}

    return choose


def to_width(share: float) -> Choose:
    """All families alike: this share of each is kept, the most important ones."""

    def choose(families: Families) -> set[int]:
        removed: set[int] = set()
        for classes in families.values():
            ranked = sorted((importance, number) for number, importance in classes.items())
            removed |= {number for _, number in ranked[: len(ranked) - _at_least_one(share * len(ranked))]}
        return removed

    return choose


def _at_least_one(count: float) -> int:
    return max(1, int(np.ceil(count - 1e-9)))


def _families(model: Any, channels: Channels) -> Families:
    makers: dict[int, set[str]] = {}
    made: dict[int, float] = {}
    read: dict[int, float] = {}
    scale: dict[int, float] = {}
    for layer in model.layers:
        weights = layer.get_weights()
        for index, axis, role, classes in channels.axes(layer):
            if weights[index].ndim == 1 or role not in (MADE, "read", "repeated"):
                continue
            squares = np.square(weights[index], dtype=np.float64)
            sums = np.moveaxis(squares, axis, 0).reshape(len(classes), -1).sum(axis=1)
            for number, value in zip(classes.tolist(), sums.tolist(), strict=True):
                target = made if role == MADE else read
                target[number] = target.get(number, 0.0) + value
        if type(layer).__name__ == "BatchNormalization" and layer.name in channels.read and layer.scale:
            classes = channels.classes(channels.read[layer.name])
            for number, value in zip(classes.tolist(), _normalised_scale(layer).tolist(), strict=True):
                scale[number] = scale.get(number, 0.0) + value
        kind = kind_of(layer)
        if kind is not None and kind.size and layer.name in channels.made:
            for number in set(channels.classes(channels.made[layer.name]).tolist()):
                makers.setdefault(number, set()).add(layer.name)
    families: dict[frozenset[str], dict[int, float]] = {}
    for number, names in makers.items():
        if number != FIXED:
            importance = made.get(number, 0.0) * read.get(number, 0.0) * scale.get(number, 1.0)
            families.setdefault(frozenset(names), {})[number] = importance
    return {names: _divided_by_mean(classes) for names, classes in families.items()}


def _normalised_scale(layer: Any) -> NDArray[np.float64]:
    gamma, variance = np.asarray(layer.gamma, np.float64), np.asarray(layer.moving_variance, np.float64)
    return np.square(gamma) / (variance + np.float64(layer.epsilon))


def _divided_by_mean(classes: Mapping[int, float]) -> dict[int, float]:
    mean = sum(classes.values()) / len(classes) or 1.0
    return {number: importance / mean for number, importance in classes.items()}


def _without(model: Any, channels: Channels, removed: set[int]) -> Any:
    gone = np.array(sorted(removed), np.int64)

    def change(layer: Any) -> list[Part] | None:
        if layer.name in channels.reshaped:
            kept = ~np.isin(channels.classes(channels.reshaped[layer.name]), gone)
            shape = [*layer.target_shape[:-1], int(kept.sum())]
            return [Part(layer.__class__.from_config({**layer.get_config(), "target_shape": shape}), [])]
        if layer.name not in channels.read:
            return None
        weights = layer.get_weights()
        for index, axis, _, classes in channels.axes(layer):
            weights[index] = np.compress(~np.isin(classes, gone), weights[index], axis=axis)
        config = layer.get_config()
        kind = kind_of(layer)
        if kind is not None and kind.size:
            config[kind.size] = int((~np.isin(channels.classes(channels.made[layer.name]), gone)).sum())
        return [Part(layer.__class__.from_config(config), weights)]

    return rewrite(model, change)
