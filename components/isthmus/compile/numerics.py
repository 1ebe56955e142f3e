"""The variables under which every job of a compile computes: what decides the last bits of a result.

The processes that jobs run in (`isthmus.compile.workers`) take them from here, and the rest from `isthmus.compile.build.session`, so
that how these are run can change without any model being compiled again, and these cannot.
"""

from collections.abc import Mapping

ENVIRONMENT: Mapping[str, str] = {
    "PYTHONHASHSEED": "0",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # its kernels round differently from one run to the next
    "TF_DETERMINISTIC_OPS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
}
"""Variables that are set before the process starts."""
EMPTY_FOLDERS = ("KERAS_HOME",)
"""Variables that name a folder with nothing in it: the user's keras.json may say another precision, or another order of axes."""
