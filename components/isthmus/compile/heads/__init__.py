"""A head that was learned elsewhere, as a model that is compiled like any other: a package with the head's numbers beside it."""

from collections.abc import Sequence
from pathlib import Path
from shutil import copyfile
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isthmus.compile.request import CompileRequest
from isthmus.compile.sources.source import EVALUATION_NAME

RECIPES: Final[Sequence[str]] = ("float32", "int8")
"""What a head is compiled by; the better by the rule of `auto` is taken."""
NUMBERS_NAME: Final = "numbers.npz"
"""Beside the package's code, `dense`, which reads it."""
_PACKAGE: Final = "group_head"
Numbers = NDArray[np.float64]


def written(folder: Path, kernel: Numbers, bias: Numbers, examples: Numbers, labels: NDArray[np.int64]) -> CompileRequest:
    """Writes a softmax's numbers, and what it is measured on, into an empty folder; the request to compile it, its recipe left out.

    Args:
        kernel: [inputs, classes]. bias: [classes]. examples: [examples, inputs], held out. labels: [examples].

    Raises:
        OSError.
    """
    package = folder / _PACKAGE
    package.mkdir()
    copyfile(Path(__file__).with_name("dense.py"), package / "__init__.py")  # not imported here: it is Keras' own
    np.savez(package / NUMBERS_NAME, kernel=kernel.astype(np.float32), bias=bias.astype(np.float32))
    np.savez(folder / EVALUATION_NAME, x=examples.astype(np.float32), y=labels)
    return CompileRequest("group-head", f"{_PACKAGE}:head", "", evaluation=folder / EVALUATION_NAME, base_directory=folder)
