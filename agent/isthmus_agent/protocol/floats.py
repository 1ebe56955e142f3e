"""Floats as TensorFlow Serving prints them.

Six significant digits (`%g`) where these read back as the same number, else as many as always do (`%.9g` for floats,
`%.17g` for doubles); `.0` after whole numbers, so that no client takes them for integers; NaN, Infinity, -Infinity.
"""

import math
from array import array as narrow
from typing import Any

import numpy as np
import numpy.typing as npt

_FULL_FORMATS = {4: "%.9g ", 8: "%.17g "}


def float64_text(value: float) -> str:
    """One double."""
    return float_texts(np.array([value]))[0]


def float_texts(array: npt.NDArray[Any]) -> list[str]:
    """The texts of a float32 or float64 array's elements, in C order."""
    values: list[float] = array.ravel().tolist()
    if not math.isfinite(sum(values)):  # cheap: a finite sum has finite terms only
        return _special_texts(array.ravel(), values)
    return _finite_texts(array.dtype, values)


def _finite_texts(dtype: np.dtype[Any], values: list[float]) -> list[str]:
    texts = ("%g " * len(values) % tuple(values)).split()
    read_back = [float(text) for text in texts]
    if dtype.itemsize == 4:
        # A float32 was widened exactly, so narrowing what the text reads as compares floats. array narrows faster than numpy.
        read_back = narrow("f", read_back).tolist()
    inexact = [i for i, (read, value) in enumerate(zip(read_back, values, strict=True)) if read != value]
    if inexact:
        full = (_FULL_FORMATS[dtype.itemsize] * len(inexact) % tuple([values[i] for i in inexact])).split()
        for i, text in zip(inexact, full, strict=True):
            texts[i] = text
    return [text if "." in text or "e" in text else text + ".0" for text in texts]


def _special_texts(flat: npt.NDArray[Any], values: list[float]) -> list[str]:
    finite = np.isfinite(flat)
    texts = iter(_finite_texts(flat.dtype, flat[finite].tolist()))
    return [next(texts) if is_finite else _special_text(value) for is_finite, value in zip(finite.tolist(), values, strict=True)]


def _special_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
