"""What goes into a subclassed Keras model, and what comes out. It declares neither: they are taken from the call that built it."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from isthmus.errors import Problem, SourceError


def recorded_arguments(model: Any, name: str, where: str) -> dict[str, Any]:
    """What a subclassed model was built on: (nested) shapes, with any batch, by the argument of its `call`.

    Args:
        name: what the model is called in messages.

    Raises:
        SourceError: it was never called, or not all of its shapes are known.
    """
    # Keras records this for its own export; there is no public way to ask for it.
    recorded = getattr(model, "_build_shapes_dict", None) if model.built else None
    if not recorded:
        what = f"the model of {name} has no signature: its inputs and outputs are not known"
        expected = "a functional model, a Sequential one that starts with keras.Input, or a subclassed one that was called"
        fix = "call it once on an example before it is saved or returned, or export it as a SavedModel"
        raise SourceError([Problem(where, what, expected, fix)])
    if list(recorded) == ["shapes_dict"]:  # as a .keras file keeps it
        recorded = recorded["shapes_dict"]
    parameters = inspect.signature(model.call).parameters
    first = next(iter(parameters))
    given = (
        {first: next(iter(recorded.values()))} if len(recorded) == 1 else {key.removesuffix("_shape"): it for key, it in recorded.items()}
    )
    needed = [key for key, it in parameters.items() if it.default is it.empty and it.kind not in (it.VAR_POSITIONAL, it.VAR_KEYWORD)]
    missing = [key for key in needed if key not in given]
    if missing:
        what = f"the model of {name} takes {', '.join([*given, *missing])}, and Keras has recorded the shape of {', '.join(given)} alone"
        fix = f"give it build(self, {', '.join(f'{key}_shape' for key in [*given, *missing])}), or one argument that holds them all"
        raise SourceError([Problem(where, what, "a model whose inputs are known", fix)])
    return given


def _is_shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(size is None or isinstance(size, int) for size in value)


def leaves(arguments: Any, name: str = "") -> Iterator[tuple[str, tuple[int | None, ...]]]:
    """Names and shapes, in Keras' order of a nested structure: an input that stands alone is called as its argument is."""
    if _is_shape(arguments):
        yield name, (None, *arguments[1:])
    elif isinstance(arguments, Mapping):
        for key in sorted(arguments) if name else arguments:
            yield from leaves(arguments[key], key)
    else:
        for index, value in enumerate(arguments):
            yield from leaves(value, f"{name}_{index}")


def _packed(structure: Any, tensors: Iterator[Any]) -> Any:
    """The structure with the tensors in the places of its shapes."""
    if _is_shape(structure):
        return next(tensors)
    if isinstance(structure, Mapping):
        return {key: _packed(structure[key], tensors) for key in sorted(structure)}
    packed = [_packed(value, tensors) for value in structure]
    return tuple(packed) if isinstance(structure, tuple) else packed


def called_with(model: Any, arguments: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """The model as a function of tensors in the order of `leaves`, that gives outputs by name."""

    def answer(*tensors: Any) -> dict[str, Any]:
        import keras

        waiting = iter(tensors)
        (_, first), *others = [(name, _packed(structure, waiting)) for name, structure in arguments.items()]
        result = model(first, **dict(others), training=False)
        if isinstance(result, Mapping):
            return {str(key): result[key] for key in sorted(result)}
        return {f"output_{index}": tensor for index, tensor in enumerate(keras.tree.flatten(result))}

    return answer
