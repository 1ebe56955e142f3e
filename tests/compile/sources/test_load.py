"""Every kind of source, loaded for real: trained on small data, saved as its users save it, and asked again."""

import importlib
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from isthmus.compile import memory
from isthmus.compile.build.export import copy_saved_model, export_keras
from isthmus.compile.sources.load import KerasModel, describe_keras, load_keras, load_saved_model
from isthmus.compile.sources.source import Source, find_source
from isthmus.errors import SourceError

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.slow
MODELS = Path(__file__).parents[3] / "models"
WHERE = "tiny.model"

OBJECTS = '''
import keras


@keras.saving.register_keras_serializable("clinic")
class Scale(keras.layers.Layer):
    """A layer with a weight of its own."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer="ones", name="factor")

    def call(self, x):
        return x * self.factor


@keras.saving.register_keras_serializable("clinic")
class Tumour(keras.Model):
    """A subclassed model."""

    def __init__(self, units=16, **options):
        super().__init__(**options)
        self.units = units
        self.scale = Scale()
        self.hidden = keras.layers.Dense(units, "relu")
        self.last = keras.layers.Dense(2, "softmax")

    def call(self, measurements, training=False):
        return {"class": self.last(self.hidden(self.scale(measurements))), "seen": self.scale(measurements)}

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Pair(keras.Model):
    """A subclassed model of two arguments, one of them nested."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def build(self, left_shape, others_shape):
        self.dense.build(left_shape)

    def call(self, left, others):
        return self.dense(left) + others["b"] * self.dense(others["a"])


def pair():
    import numpy as np

    model = Pair()
    model(np.zeros((2, 4), "float32"), {"b": np.zeros((2, 1), "float32"), "a": np.zeros((2, 4), "float32")})
    return model


class Unbuilt(keras.Model):
    """Of two arguments, without a build method: Keras records the first alone."""

    def call(self, left, right, training=False):
        return left + right


def unbuilt():
    import numpy as np

    model = Unbuilt()
    model(np.zeros((2, 4), "float32"), np.zeros((2, 4), "float32"))
    return model


def never_called():
    return Pair()
'''


def _trained(model: Any, x: Any, y: Any, loss: str = "sparse_categorical_crossentropy") -> Any:
    model.compile(keras.optimizers.Adam(0.02), loss)
    model.fit(x, y, epochs=25, batch_size=32, verbose=0)
    return model


def _normal(x: Any) -> Any:
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def _found(name: str, base: Path, **options: Any) -> Source:
    source, problems = find_source(name, None, base, "tiny", **options)
    assert source is not None, problems
    return source


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with trained models of many kinds."""
    folder = tmp_path_factory.mktemp("kinds")
    keras.utils.set_random_seed(4)
    (folder / "clinic_layers.py").write_text(OBJECTS)

    wine = load_wine()
    x = _normal(wine.data)
    sequential = keras.Sequential([keras.Input((13,), name="wine"), keras.layers.Dense(16, "relu"), keras.layers.Dense(3, "softmax")])
    _trained(sequential, x, wine.target).save(folder / "sequential.keras")

    sys.path.insert(0, str(folder))
    tumours = load_breast_cancer()
    subclassed = importlib.import_module("clinic_layers").Tumour()
    measurements = _normal(tumours.data)
    subclassed(measurements[:1])
    subclassed.compile(keras.optimizers.Adam(0.02), {"class": "sparse_categorical_crossentropy", "seen": None})
    subclassed.fit(measurements, {"class": tumours.target}, epochs=8, verbose=0)
    subclassed.save(folder / "subclassed.keras")
    sys.path.remove(str(folder))
    _forget()

    image = keras.Input((4,), name="x")
    keras.Model(image, keras.layers.Lambda(lambda values: values * 2.0, name="twice")(image)).save(folder / "lambda.keras")

    iris = load_iris()
    names = iris.target_names[iris.target].astype(object)
    species, length = keras.Input((1,), dtype="string", name="species"), keras.Input((1,), name="petal_length")
    found = keras.layers.StringLookup(vocabulary=list(iris.target_names), name="lookup")(species)
    both = keras.layers.Concatenate()([keras.layers.Flatten()(keras.layers.Embedding(4, 3)(found)), length])
    text = keras.Model([species, length], keras.layers.Dense(3, "softmax", name="width_class")(both))
    width_class = np.digitize(iris.data[:, 3], [0.8, 1.7])
    inputs = {"species": tf.constant(names[:, None].tolist()), "petal_length": iris.data[:, 2:3].astype(np.float32)}
    _trained(text, inputs, width_class).save(folder / "text.keras")
    text.export(str(folder / "text"), verbose=False)
    return folder


def _forget() -> None:
    """As in a worker that has not seen the user's classes."""
    keras.saving.get_custom_objects().clear()
    sys.modules.pop("clinic_layers", None)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    path = list(sys.path)
    _forget()
    yield
    _forget()
    sys.path[:] = path


def _exported_alike(model: KerasModel, folder: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """What the model answers, and that its export answers the same by the same names, in batches of any size."""
    export_keras(model, folder, WHERE)
    serving = tf.saved_model.load(str(folder)).signatures["serving_default"]
    expected = model.described.run(inputs)
    found = serving(**{name: tf.constant(value) for name, value in inputs.items()})
    assert set(found) == set(expected) == {spec.name for spec in model.described.outputs}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].numpy(), values, atol=1e-5)
    return expected


def test_a_functional_model_is_loaded(tmp_path: Path) -> None:
    with np.load(MODELS / "digits" / "evaluation.npz") as held_out:
        images, labels = held_out["x"].astype(np.float32), held_out["y"]
    answers = _exported_alike(load_keras(_found("digits", MODELS), WHERE), tmp_path / "out", {"image": images})
    assert (answers["probabilities"].argmax(1) == labels).mean() > 0.97


def test_a_sequential_model_is_loaded(kinds: Path, tmp_path: Path) -> None:
    wine = load_wine()
    answers = _exported_alike(load_keras(_found("sequential.keras", kinds), WHERE), tmp_path / "out", {"wine": _normal(wine.data)})
    assert (next(iter(answers.values())).argmax(1) == wine.target).mean() > 0.95


def test_a_subclassed_model_with_custom_objects_is_loaded(kinds: Path, tmp_path: Path) -> None:
    tumours = load_breast_cancer()
    model = load_keras(_found("subclassed.keras", kinds, custom_objects="clinic_layers"), WHERE)
    assert [(spec.name, spec.shape) for spec in model.described.inputs] == [("measurements", (-1, 30))]
    assert [(spec.name, spec.shape) for spec in model.described.outputs] == [("class", (-1, 2)), ("seen", (-1, 30))]
    answers = _exported_alike(model, tmp_path / "out", {"measurements": _normal(tumours.data)})
    assert (answers["class"].argmax(1) == tumours.target).mean() > 0.95


def test_custom_objects_that_nobody_registered_say_what_to_do(kinds: Path) -> None:
    with pytest.raises(SourceError, match="Could not locate class 'Tumour'") as raised:
        load_keras(_found("subclassed.keras", kinds), WHERE)
    assert "name that module in custom_objects" in str(raised.value)


def test_a_custom_objects_module_that_raises_is_blamed_with_its_line(kinds: Path) -> None:
    (kinds / "clinic_broken.py").write_text("import keras\n\n1 / 0\n")
    with pytest.raises(SourceError, match=r"tiny.custom_objects: clinic_broken raised ZeroDivisionError: .* at clinic_broken.py:3"):
        load_keras(_found("subclassed.keras", kinds, custom_objects="clinic_broken"), WHERE)


def test_a_subclassed_model_of_two_arguments_comes_from_a_function(kinds: Path, tmp_path: Path) -> None:
    model = load_keras(_found("clinic_layers:pair", kinds), WHERE)
    assert [(spec.name, spec.shape) for spec in model.described.inputs] == [("left", (-1, 4)), ("a", (-1, 4)), ("b", (-1, 1))]
    generator = np.random.default_rng(1)
    inputs = {name: generator.random((5, size), dtype=np.float32) for name, size in (("left", 4), ("a", 4), ("b", 1))}
    answers = _exported_alike(model, tmp_path / "out", inputs)
    kernel, bias = model.model.dense.get_weights()
    expected = inputs["left"] @ kernel + bias + inputs["b"] * (inputs["a"] @ kernel + bias)
    np.testing.assert_allclose(answers["output_0"], expected, atol=1e-5)


def test_a_subclassed_model_of_which_not_all_shapes_are_known_says_how_they_would_be(kinds: Path) -> None:
    with pytest.raises(SourceError, match="takes left, right, and Keras has recorded the shape of left alone") as raised:
        load_keras(_found("clinic_layers:unbuilt", kinds), WHERE)
    assert "build(self, left_shape, right_shape)" in str(raised.value)


def test_a_subclassed_model_that_was_never_called_says_so(kinds: Path) -> None:
    with pytest.raises(SourceError, match="its inputs and outputs are not known") as raised:
        load_keras(_found("clinic_layers:never_called", kinds), WHERE)
    assert "call it once on an example" in str(raised.value)


def test_a_model_that_was_changed_in_memory_is_described_as_it_is() -> None:
    x = keras.Input((4,), name="x")
    described = describe_keras(keras.Model(x, keras.layers.Dense(2, name="y")(x)), "digits", WHERE).described
    assert [spec.name for spec in (*described.inputs, *described.outputs)] == ["x", "y"]


def test_a_lambda_layer_runs_only_with_permission(kinds: Path) -> None:
    source, problems = find_source("lambda.keras", None, kinds, "tiny")
    assert source is None
    assert "layer 'twice'" in problems[0].what
    permitted = _found("lambda.keras", kinds, allow_unsafe=True)
    answers = load_keras(permitted, WHERE).described.run({"x": np.ones((1, 4), np.float32)})
    np.testing.assert_array_equal(answers["twice"], np.full((1, 4), 2.0))
    with pytest.raises(SourceError, match="allow_unsafe"):  # also where the check before did not see it
        load_keras(replace(permitted, allow_unsafe=False), WHERE)


def _damaged(original: Path, file: Path, weights: bytes) -> Path:
    with zipfile.ZipFile(original) as old, zipfile.ZipFile(file, "w") as new:
        for member in old.infolist():
            new.writestr(member.filename, weights if member.filename == "model.weights.h5" else old.read(member))
    return file


def test_weights_that_are_none_are_told(kinds: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(MODELS / "digits" / "model.keras") as archive:
        of_another, whole = archive.read("model.weights.h5"), b""
    with zipfile.ZipFile(kinds / "sequential.keras") as archive:
        whole = archive.read("model.weights.h5")
    for weights in (b"no hdf5 at all", of_another, whole[: len(whole) // 2], b""):
        _damaged(kinds / "sequential.keras", tmp_path / "damaged.keras", weights)
        with pytest.raises(SourceError, match=r"Keras cannot load 'damaged.keras'"):
            load_keras(_found("damaged.keras", tmp_path), WHERE)
    _damaged(kinds / "sequential.keras", tmp_path / "damaged.keras", whole)
    assert load_keras(_found("damaged.keras", tmp_path), WHERE)


def test_a_model_too_large_for_memory_is_told_before_it_is_loaded(kinds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: memory.BASE_BYTES + 1000)
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("it was loaded"))
    monkeypatch.setattr(tf.saved_model, "load", lambda *_, **__: pytest.fail("it was loaded"))
    for load, name in ((load_keras, "sequential.keras"), (load_saved_model, "text")):
        with pytest.raises(SourceError, match=r"compiling it takes about .* of memory, and .* is free"):
            load(_found(name, kinds), WHERE)


# SavedModels


class Words(tf.Module):
    """Several signatures; one takes text."""

    def __init__(self) -> None:
        super().__init__()
        keys = tf.constant(["cat", "dog", "cow"])
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, tf.range(1, 4, dtype=tf.int64)), 0)
        self.embedding = tf.Variable(np.arange(12, dtype=np.float32).reshape(4, 3))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
    def embed(self, words: Any) -> Any:
        return {"vector": tf.gather(self.embedding, self.table.lookup(words))}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, "vector")])
    def length(self, vector: Any) -> Any:
        return {"length": tf.norm(vector, axis=1)}


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    module = Words()
    both = {"embed": module.embed, "length": module.length}
    tf.saved_model.save(module, str(folder / "two"), signatures=both)
    tf.saved_model.save(module, str(folder / "three"), signatures={**both, "serving_default": module.length})
    tf.saved_model.save(module, str(folder / "one"), signatures={"embed": module.embed})
    return folder


def test_a_saved_model_with_string_inputs_is_loaded(kinds: Path) -> None:
    model = load_saved_model(_found("text", kinds), WHERE)
    assert {spec.name: (spec.dtype, spec.shape) for spec in model.inputs} == {
        "species": ("string", (-1, 1)),
        "petal_length": ("float32", (-1, 1)),
    }
    iris = load_iris()
    asked = {"species": iris.target_names[iris.target].astype(object)[:, None], "petal_length": iris.data[:, 2:3].astype(np.float32)}
    (answers,) = model.run(asked).values()
    assert (answers.argmax(1) == np.digitize(iris.data[:, 3], [0.8, 1.7])).mean() > 0.9


def test_string_inputs_of_a_keras_model_are_kept_on_the_way(kinds: Path, tmp_path: Path) -> None:
    model = load_keras(_found("text.keras", kinds), WHERE)
    asked = {"species": np.array([["setosa"], ["virginica"]], object), "petal_length": np.array([[1.4], [5.5]], np.float32)}
    _exported_alike(model, tmp_path / "out", asked)


@pytest.mark.parametrize(
    ("folder", "signature", "answers"),
    [
        ("two", "embed", "vector"),
        ("two", "length", "length"),
        ("three", None, "length"),
        ("three", "embed", "vector"),
        ("one", None, "vector"),
    ],
)
def test_the_signature_that_is_chosen_is_the_one_that_is_served(
    words: Path, tmp_path: Path, folder: str, signature: str | None, answers: str
) -> None:
    source = _found(folder, words, signature=signature)
    model = load_saved_model(source, WHERE)
    assert [spec.name for spec in model.outputs] == [answers]
    copy_saved_model(source, tmp_path / "first")
    copy_saved_model(source, tmp_path / "second")
    assert (tmp_path / "first" / "saved_model.pb").read_bytes() == (tmp_path / "second" / "saved_model.pb").read_bytes()
    asked = {"words": np.array(["dog", "owl"], object)} if answers == "vector" else {"vector": np.array([[3, 4, 0]], np.float32)}
    served = tf.saved_model.load(str(tmp_path / "first"))
    found = served.signatures["serving_default"](**{name: tf.constant(value) for name, value in asked.items()})
    np.testing.assert_array_equal(found[answers].numpy(), model.run(asked)[answers])
    # A server reads the graph's signatures, and not the objects': both have to say the same.
    graph = tf.compat.v1.saved_model.load(tf.compat.v1.Session(graph=tf.Graph()), ["serve"], str(tmp_path / "first"))
    assert list(graph.signature_def["serving_default"].outputs) == [answers]


@pytest.mark.parametrize("signature", [None, "nothing"])
def test_a_signature_that_is_not_there_lists_those_that_are(words: Path, signature: str | None) -> None:
    with pytest.raises(SourceError, match=r"\(it has: embed, length\)") as raised:
        load_saved_model(_found("two", words, signature=signature), WHERE)
    assert str(raised.value).startswith("tiny.signature: " if signature else "tiny.model: ")


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of wines, trained and saved by TensorFlow 1's means."""
    folder = tmp_path_factory.mktemp("old")
    wine, v1 = load_wine(), tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 13], "x")
        y = v1.placeholder(tf.int64, [None], "y")
        weights = v1.get_variable("weights", [13, 3], initializer=v1.zeros_initializer())
        scores = tf.nn.softmax(tf.matmul(x, weights), name="scores")
        loss = v1.losses.sparse_softmax_cross_entropy(y, tf.matmul(x, weights))
        step = v1.train.GradientDescentOptimizer(0.5).minimize(loss)
        session.run(v1.global_variables_initializer())
        for _ in range(60):
            session.run(step, {x: _normal(wine.data), y: wine.target})
        signature = v1.saved_model.predict_signature_def({"wine": x}, {"scores": scores})
        for name, tags in (("serving", [v1.saved_model.SERVING]), ("training", [v1.saved_model.TRAINING])):
            builder = v1.saved_model.Builder(str(folder / name))
            builder.add_meta_graph_and_variables(session, tags, {"serving_default": signature})
            builder.save()
    return folder


def test_a_saved_model_of_tensorflow_1_is_loaded(old: Path) -> None:
    wine = load_wine()
    model = load_saved_model(_found("serving", old), WHERE)
    assert [(spec.name, spec.dtype, spec.shape) for spec in model.inputs] == [("wine", "float32", (-1, 13))]
    assert (model.run({"wine": _normal(wine.data)})["scores"].argmax(1) == wine.target).mean() > 0.95


def test_a_saved_model_without_a_graph_to_serve_names_its_tags(old: Path) -> None:
    with pytest.raises(SourceError, match=r"no graph with the tag serve \(it has: train\)"):
        load_saved_model(_found("training", old), WHERE)


@pytest.mark.parametrize("content", [b"", b"\xff\xff no protobuf", bytes(2000)])
def test_a_damaged_saved_model_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(content)
    with pytest.raises(SourceError, match=r"saved_model\.pb of 'saved'"):
        load_saved_model(_found("saved", tmp_path), WHERE)


def test_a_saved_model_that_lost_its_variables_is_told(words: Path, tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes((words / "three" / "saved_model.pb").read_bytes())
    with pytest.raises(SourceError, match="TensorFlow cannot load 'saved'"):
        load_saved_model(_found("saved", tmp_path), WHERE)


def _python(x: Any) -> Any:
    return tf.ensure_shape(tf.py_function(lambda values: values + 1, [x], tf.float32), [None])


def _reads(x: Any) -> Any:
    return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


def _writes(x: Any) -> Any:
    with tf.control_dependencies([tf.io.write_file("stolen", "x")]):
        return tf.identity(x)


def _nested(x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0, lambda: _writes(x), lambda: x)


def _saves(x: Any) -> Any:
    with tf.control_dependencies([tf.raw_ops.SaveV2(prefix="stolen", tensor_names=["x"], shape_and_slices=[""], tensors=[x])]):
        return tf.identity(x)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (_python, r"EagerPyFunc \(runs Python\)"),
        (_reads, r"ReadFile \(reads files\)"),
        (_writes, r"WriteFile \(writes files\)"),
        (_nested, r"WriteFile \(writes files\)"),
        (_saves, r"SaveV2 \(writes files\)"),
    ],
)
def test_operations_that_reach_out_of_the_graph_are_refused_by_name(tmp_path: Path, body: Any, said: str) -> None:
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    signature = tf.function(lambda x: {"y": body(x) * module.weight}, input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": signature.get_concrete_function()})
    source = _found("saved", tmp_path)
    with pytest.raises(SourceError, match=said) as raised:
        load_saved_model(source, WHERE)
    assert "allow_unsafe" in str(raised.value)
    assert "Restore" not in str(raised.value)  # its own variables are its own business
    assert load_saved_model(replace(source, allow_unsafe=True), WHERE).inputs[0].name == "x"
