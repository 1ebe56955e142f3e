"""The models that replies.jsonl was recorded with, and a slow one: `make_models(directory)` writes m/1, m/2, cr/1 and slow/1."""

import os
from pathlib import Path

import tensorflow as tf
from tensorflow.compat import v1


class Dense(tf.Module):
    """y = x·W + b, and signatures with several inputs, strings, a scalar and other types."""

    def __init__(self):
        self.w = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        self.b = tf.Variable([0.5, -0.5])

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def f(self, x):
        return {"y": tf.matmul(x, self.w) + self.b}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x"), tf.TensorSpec([None], tf.int32, name="k")])
    def two(self, x, k):
        return {"y": tf.matmul(x, self.w) + self.b, "k2": k * 2}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="s")])
    def st(self, s):
        return {"out_bytes": s, "length": tf.strings.length(s)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x")])
    def scalar(self, x):
        return {"y": x / tf.constant(0.0)}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float64, name="x")])
    def dbl(self, x):
        return {"y": x, "b": x > 0, "i64": tf.cast(x, tf.int64), "u8": tf.cast(x, tf.uint8)}


class Slow(tf.Module):
    """Takes time in proportion to `rounds`."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, name="rounds")])
    def f(self, rounds):
        square = tf.eye(100) * 0.5
        _, product = tf.while_loop(lambda i, _: i < rounds, lambda i, a: (i + 1, tf.matmul(a, square)), [0, square])
        return {"y": tf.reduce_sum(product)}


def make_dense(directory: Path) -> None:
    """One version of the model m."""
    model = Dense()
    signatures = {"serving_default": model.f, "two": model.two, "str": model.st, "scalar": model.scalar, "dbl": model.dbl}
    tf.saved_model.save(model, os.fspath(directory), signatures=signatures)


def make_classifier(directory: Path) -> None:
    """A TensorFlow 1 model with classify, regress and predict signatures."""
    graph = tf.Graph()
    with graph.as_default():
        examples = v1.placeholder(tf.string, [None], name="ex")
        features = v1.parse_example(examples, {"x": v1.FixedLenFeature([3], tf.float32)})
        weights = v1.get_variable("w", initializer=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        y = tf.matmul(features["x"], weights)
        scores = tf.nn.softmax(y)
        classes = tf.tile(tf.constant([[b"a", b"b"]]), [tf.shape(y)[0], 1])
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.builder.SavedModelBuilder(os.fspath(directory))
            definitions = v1.saved_model.signature_def_utils
            signatures = {
                "serving_default": definitions.classification_signature_def(examples, classes, scores),
                "reg": definitions.regression_signature_def(examples, y[:, :1]),
                "predict": definitions.predict_signature_def({"ex": examples}, {"scores": scores}),
            }
            builder.add_meta_graph_and_variables(session, ["serve"], signatures)
            builder.save()


def make_models(directory: Path) -> None:
    for version in ("1", "2"):
        make_dense(directory / "m" / version)
    make_classifier(directory / "cr" / "1")
    slow = Slow()
    tf.saved_model.save(slow, os.fspath(directory / "slow" / "1"), signatures={"serving_default": slow.f})
