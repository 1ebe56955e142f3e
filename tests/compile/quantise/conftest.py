"""The digits model as a float .tflite file, and a way to run one on each of the kernels that a device may use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

DIGITS = Path(__file__).parents[3] / "models" / "digits"


@pytest.fixture(scope="session")
def digits_data() -> dict[str, NDArray[Any]]:
    with np.load(DIGITS / "evaluation.npz") as data:
        return {"x": data["x"], "y": data["y"]}


@pytest.fixture(scope="session")
def float_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], bytes]:
    """A Keras model as the float .tflite file that compiling starts from."""
    from isthmus.compile.build.edge import float_model

    def convert(model: Any) -> bytes:
        folder = tmp_path_factory.mktemp("saved") / "model"
        model.export(str(folder), verbose=False)
        return float_model(folder, "m.model")

    return convert


@pytest.fixture(scope="session")
def digits_file(float_file: Callable[[Any], bytes]) -> bytes:
    keras = pytest.importorskip("keras")
    return float_file(keras.models.load_model(DIGITS / "model.keras"))


KERNELS = {"xnnpack": "AUTO", "optimised": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}


@pytest.fixture(scope="session")
def run() -> Callable[..., dict[str, NDArray[Any]]]:
    """run(file, kernels, **inputs): the answers of the first signature."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def answers(file: bytes, kernels: str = "xnnpack", **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        interpreter = Interpreter(
            model_content=file, num_threads=1, experimental_op_resolver_type=getattr(OpResolverType, KERNELS[kernels])
        )
        return dict(interpreter.get_signature_runner(next(iter(interpreter.get_signature_list())))(**inputs))

    return answers
