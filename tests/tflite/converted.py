"""Files as converters write them; `once(*FILES)` (see tests/conftest.py) gives the folder that they lie in."""

import subprocess
import sys
from pathlib import Path

from ai_edge_litert.tools import flatbuffer_utils

DIGITS = Path(__file__).parents[2] / "models" / "digits"
CONVERT = """
import sys
import numpy as np, keras, tensorflow as tf
source, folder = sys.argv[1:]
digits = keras.saving.load_model(source + "/model.keras")
images = np.load(source + "/evaluation.npz")["x"].astype(np.float32)
digits.export(folder + "/digits", verbose=False)
converter = tf.lite.TFLiteConverter.from_saved_model(folder + "/digits")
open(folder + "/digits.tflite", "wb").write(converter.convert())
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([image[None]] for image in images[:50])
converter.inference_input_type = converter.inference_output_type = tf.uint8
open(folder + "/quantised.tflite", "wb").write(converter.convert())
module = tf.Module()
module.both = tf.Variable(np.eye(3, dtype=np.float32) * 2)
def signature(f): return tf.function(f, input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")]).get_concrete_function()
signatures = {"double": signature(lambda x: {"double": x @ module.both}), "half": signature(lambda x: {"half": x / 2})}
tf.saved_model.save(module, folder + "/two", signatures=signatures)
converter = tf.lite.TFLiteConverter.from_saved_model(folder + "/two", signature_keys=list(signatures))
open(folder + "/two.tflite", "wb").write(converter.convert())
"""


def _make(folder: Path) -> None:
    """digits.tflite and quantised.tflite (the trained model), two.tflite (two signatures), old.tflite (as converters wrote them once)."""
    subprocess.run([sys.executable, "-c", CONVERT, str(DIGITS), str(folder)], check=True, capture_output=True, timeout=280)
    model = flatbuffer_utils.read_model(str(folder / "digits.tflite"))
    for code in model.operatorCodes:
        assert code.builtinCode == code.deprecatedBuiltinCode
        code.builtinCode = 0
    model.signatureDefs = None
    flatbuffer_utils.write_model(model, str(folder / "old.tflite"))


FILES = ("tflite", _make)
