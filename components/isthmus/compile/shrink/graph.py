"""Rebuilding a model with other layers in the place of some of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import Problem, SourceError


@dataclass(frozen=True)
class Part:
    """A new layer, not yet built, and its weights in the layer's own order."""

    layer: Any
    weights: list[NDArray[Any]]


@dataclass(frozen=True)
class Call:
    """One use of a layer or operation in a model: the symbolic tensors that it reads and makes."""

    layer: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


Change = Callable[[Any], Sequence[Part] | None]
"""What stands in a layer's place: None, the layer as it is; otherwise a chain of parts, of which there may be none."""


def rewrite(model: Any, change: Change) -> Any:
    """A new functional model with weights of its own, changed layer by layer. Names of inputs and outputs stay."""
    import keras

    parts: list[Part] = []
    chains: dict[int, list[Any]] = {}  # by the id of what clone_function returned

    def renew(layer: Any) -> Any:
        if not isinstance(layer, keras.Layer):
            return layer  # an operation without state
        changed = change(layer)
        chain = list(changed) if changed is not None else [Part(_copied(layer), layer.get_weights())]
        parts.extend(chain)
        key = chain[0].layer if chain else keras.layers.Identity(name=f"without_{layer.name}")
        chains[id(key)] = [part.layer for part in chain]
        kept.append(key)
        return key

    kept: list[Any] = []  # ids are those of living layers only

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        chain = chains.get(id(layer), [layer])
        if not chain:
            return args[0]
        result = chain[0](*args, **kwargs)
        for following in chain[1:]:
            result = following(result)
        return result

    renewed = keras.models.clone_model(_functional(model), clone_function=renew, call_function=call)
    for part in parts:
        part.layer.set_weights(part.weights)
    renewed.output_names = list(model.output_names)
    return renewed


def opened(model: Any, where: str) -> tuple[Any, tuple[Call, ...]]:
    """A copy of the model in which the layers of nested models stand beside the others, and its calls in order.

    Raises:
        SourceError: the model has no graph that could be rebuilt (a subclassed one), or a layer cannot be copied.
    """
    import keras

    _check(model, where)
    names = list(model.output_names)
    try:
        copied = keras.models.clone_model(_functional(model), clone_function=_copied, recursive=True)
        copied.set_weights(_functional(model).get_weights())
    except (TypeError, ValueError, NotImplementedError) as error:
        first = str(error).strip().split("\n")[0][:300]
        raise SourceError(
            [Problem(where, f"a layer cannot be copied: {first}", "layers that Keras can rebuild from get_config()", "add get_config()")]
        ) from error
    while any(_is_nested(layer) for layer in copied.layers):
        _rename_inner(copied)
        copied = keras.models.clone_model(copied, clone_function=lambda layer: layer, call_function=_call_inside)
    calls: list[Call] = []

    def record(layer: Any, *args: Any, **kwargs: Any) -> Any:
        result = layer(*args, **kwargs)
        tensors = tuple(item for item in keras.tree.flatten((args, kwargs)) if isinstance(item, keras.KerasTensor))
        calls.append(Call(layer, tensors, tuple(keras.tree.flatten(result))))
        return result

    recorded = keras.models.clone_model(copied, clone_function=lambda layer: layer, call_function=record)
    recorded.output_names = names
    return recorded, tuple(calls)


def copy(model: Any, where: str) -> Any:
    """A copy of the model as `opened` gives it. Raises SourceError."""
    return opened(model, where)[0]


def weight_count(model: Any) -> int:
    """How many numbers the model's weights have."""
    return sum(int(np.prod(weight.shape)) for weight in model.weights)


def _functional(model: Any) -> Any:
    """The same graph of the same layers, neither Sequential nor compiled: clone_model asks for that."""
    import keras

    # `input` and `output` of a Sequential that stands in another model are those of its call there.
    one_each = isinstance(model, keras.Sequential)
    ends = (model.inputs[0], model.outputs[0]) if one_each else (model.input, model.output)
    wrapped = keras.Model(*ends, name=model.name)
    wrapped.output_names = list(getattr(model, "output_names", wrapped.output_names))
    return wrapped


def _copied(layer: Any) -> Any:
    import keras

    return layer.__class__.from_config(layer.get_config()) if isinstance(layer, keras.Layer) else layer


def _is_nested(layer: Any) -> bool:
    import keras
    from keras.src.models.functional import Functional

    return isinstance(layer, Functional | keras.Sequential) and _graph_tells_all(layer)


def _graph_tells_all(model: Any) -> bool:
    """Whether calling the model does what its graph says: not where a subclass has a `call` of its own."""
    import keras
    from keras.src.models.functional import Functional

    return type(model).call in (Functional.call, keras.Sequential.call) and bool(getattr(model, "inputs", None))


def _check(model: Any, where: str) -> None:
    import keras

    if not isinstance(model, keras.Model) or not _graph_tells_all(model):
        raise SourceError(
            [
                Problem(
                    where,
                    f"the layers of {type(model).__name__} {getattr(model, 'name', '')!r} are called by Python code, "
                    "so that a step of the recipe cannot take it apart",
                    "a functional Keras model, or a Sequential one that starts with keras.Input (.keras file or module:function)",
                    "use a recipe that only changes how weights are stored, such as int8, or build the model with keras.Input",
                )
            ]
        )


def _rename_inner(model: Any) -> None:
    """Layers of one model need different names: an inner one whose name is taken gets its model's before it."""
    taken = {layer.name for layer in model.layers}
    for nested in [layer for layer in model.layers if _is_nested(layer)]:
        for layer in nested.layers:
            while layer.name in taken:
                layer.name = f"{nested.name}_{layer.name}"
            taken.add(layer.name)


def _call_inside(layer: Any, *args: Any, **kwargs: Any) -> Any:
    return _functional(layer).call(*args, training=kwargs.get("training")) if _is_nested(layer) else layer(*args, **kwargs)
