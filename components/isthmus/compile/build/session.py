"""TensorFlow and Keras as every job finds them, whatever was done before in its process. Beside it: `isthmus.compile.numerics`."""

import sys

SEED = 0
"""Of a job's random numbers, where it sets no other."""


def compute_in_order() -> None:
    """One thread: sums in the same order give the same last bits. Called once, before anything is computed."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def start_afresh() -> None:
    """Forgets what an earlier job left in Keras, if that is in this process: counters for the names of layers, random states, graphs."""
    if "keras" in sys.modules:
        import keras

        keras.backend.clear_session()
        keras.utils.set_random_seed(SEED)
