"""Element types: numpy's names, TensorFlow's names, and what JSON may hold for each."""

from dataclasses import dataclass

import numpy as np

STRING = "string"


@dataclass(frozen=True)
class ElementType:
    """tf_name: as in error texts. enum_name: as in metadata. low, high: what a JSON integer may be, inclusive.

    in_json: whether TensorFlow Serving's REST interface reads and writes the type; over gRPC all of them are.
    Eight and sixteen bit types take any 32 bit integer and keep its low bits, as TensorFlow Serving does.
    """

    tf_name: str
    enum_name: str
    numpy: np.dtype
    low: int = 0
    high: int = 0
    in_json: bool = True

    @property
    def kind(self) -> str:
        """numpy's kind: `f`, `i`, `u`, `b`, or `O` for strings."""
        return self.numpy.kind


_INT32 = (-(2**31), 2**31 - 1)
_TYPES: dict[str, ElementType] = {
    "float16": ElementType("half", "DT_HALF", np.dtype(np.float16), in_json=False),
    "float32": ElementType("float", "DT_FLOAT", np.dtype(np.float32)),
    "float64": ElementType("double", "DT_DOUBLE", np.dtype(np.float64)),
    "int8": ElementType("int8", "DT_INT8", np.dtype(np.int8), *_INT32),
    "int16": ElementType("int16", "DT_INT16", np.dtype(np.int16), *_INT32),
    "int32": ElementType("int32", "DT_INT32", np.dtype(np.int32), *_INT32),
    "int64": ElementType("int64", "DT_INT64", np.dtype(np.int64), -(2**63), 2**63 - 1),
    "uint8": ElementType("uint8", "DT_UINT8", np.dtype(np.uint8), *_INT32),
    "uint16": ElementType("uint16", "DT_UINT16", np.dtype(np.uint16), *_INT32, in_json=False),
    "uint32": ElementType("uint32", "DT_UINT32", np.dtype(np.uint32), 0, 2**32 - 1),
    "uint64": ElementType("uint64", "DT_UINT64", np.dtype(np.uint64), 0, 2**64 - 1),
    "bool": ElementType("bool", "DT_BOOL", np.dtype(np.bool_)),
    STRING: ElementType("string", "DT_STRING", np.dtype(object)),
}
_NAMES = {element.enum_name: name for name, element in _TYPES.items()}


def element_type(dtype: str) -> ElementType | None:
    """dtype: numpy's name, or "string". None for a type that is none of ours."""
    return _TYPES.get(dtype)


def json_type(dtype: str) -> ElementType | None:
    """The same; None where JSON has no form for the type."""
    element = _TYPES.get(dtype)
    return element if element and element.in_json else None


def tf_name(dtype: str) -> str:
    """What TensorFlow's error texts call the type. dtype: as above, or TensorFlow's enum name."""
    element = _TYPES.get(dtype)
    return element.tf_name if element else dtype.removeprefix("DT_").lower()


def enum_name(dtype: str) -> str:
    """TensorFlow's enum name, such as DT_FLOAT; a name that is none of ours (DT_INVALID) stands for itself."""
    element = _TYPES.get(dtype)
    return element.enum_name if element else dtype


def dtype_name(enum: str) -> str:
    """The inverse of `enum_name`."""
    return _NAMES.get(enum, enum)
