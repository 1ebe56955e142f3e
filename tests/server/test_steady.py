"""Which signatures take a time that follows from shapes alone."""

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Whether each of some functions is steady, by name."""
    import tensorflow as tf

    from isthmus.server.steady import steady

    numbers = tf.TensorSpec([None, 4], tf.float32, name="x")
    weights = tf.Variable(tf.ones([4, 2]))

    def loop(x):
        return tf.while_loop(lambda i: i < x[0, 0], lambda i: (i + 1,), (tf.constant(0.0),))[0]

    functions = {
        "dense": lambda x: tf.nn.softmax(tf.nn.relu(tf.matmul(x, weights)) + 1.0),
        "flatten": lambda x: tf.reshape(x, [tf.shape(x)[0], -1]),
        "padded": lambda x: tf.pad(x, [[0, 0], [1, 1]]),
        "loop": loop,
        "large": lambda x: tf.ones(tf.cast(x[0, :1], tf.int32)),
        "tiled": lambda x: tf.tile(x, tf.cast(x[0, :2], tf.int32)),
        "parsed": lambda x: tf.strings.to_number(tf.as_string(x)),
        "branch": lambda x: tf.cond(x[0, 0] > 0, lambda: loop(x), lambda: 0.0),
        "nested": tf.function(tf.function(loop)),
        "sorted": lambda x: tf.map_fn(tf.sort, x),
    }

    class Model(tf.Module):
        pass

    model, directory = Model(), tmp_path_factory.mktemp("steady")
    model.weights = weights
    signatures = {name: tf.function(lambda x, f=f: {"y": f(x)}, input_signature=[numbers]) for name, f in functions.items()}
    tf.saved_model.save(model, str(directory), signatures=signatures)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(directory))
    return {
        name: steady(meta_graph.graph_def, [output.name for output in definition.outputs.values()])
        for name, definition in meta_graph.signature_def.items()
    }


@pytest.mark.parametrize("name", ["dense", "flatten", "padded"])
def test_arithmetic_on_shapes_that_are_given_is_steady(verdicts, name):
    assert verdicts[name]


@pytest.mark.parametrize("name", ["loop", "large", "tiled", "parsed", "branch", "nested", "sorted"])
def test_what_a_value_can_make_long_is_not(verdicts, name):
    assert not verdicts[name]


def test_a_tensor_that_is_not_there_is_not_steady():
    from tensorflow.core.framework import graph_pb2

    from isthmus.server.steady import steady

    assert not steady(graph_pb2.GraphDef(), ["missing:0"])
