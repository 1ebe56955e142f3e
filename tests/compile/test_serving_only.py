"""Releases for servers alone: text models, which devices cannot run, compiled for real and asked with texts."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from isthmus.compile import CompileRequest, check_accuracy, compile_release
from isthmus.errors import SourceError
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import EDGE, SERVING, Release

pytestmark = pytest.mark.slow
Compile = Callable[..., Release]
WORDS = [["good", "fine", "film"], ["bad", "poor", "film"], ["fine", "good", "plot"], ["poor", "poor", "plot"]]
WAY_OUT = "name recipe serving-only where servers alone shall run it"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mood`: Keras, with StringLookup and an Embedding, right on three of four examples. `vectorised`: Keras, with a TextVectorization.
    `saved`: a SavedModel that takes and gives texts."""
    keras, tf = pytest.importorskip("keras"), pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("texts")
    keras.utils.set_random_seed(1)
    words = keras.Input((3,), dtype="string", name="words")
    looked_up = keras.layers.StringLookup(vocabulary=["good", "fine", "bad", "poor"])(words)
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(5, 8)(looked_up))
    mood = keras.Model(words, keras.layers.Dense(2, "softmax", name="mood")(pooled))
    (folder / "mood").mkdir()
    mood.save(folder / "mood" / "model.keras")
    answers = np.asarray(mood(tf.constant(WORDS))).argmax(axis=1)
    answers[0] = 1 - answers[0]
    np.savez(folder / "mood" / "evaluation.npz", x=np.array(WORDS), y=answers)

    text = keras.Input((1,), dtype="string", name="text")
    vectorise = keras.layers.TextVectorization(output_sequence_length=4)
    vectorise.adapt([" ".join(line) for line in WORDS])
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(16, 8)(vectorise(text)))
    keras.Model(text, keras.layers.Dense(2, name="out")(pooled)).save(folder / "vectorised.keras")

    module = tf.Module()
    module.weights = tf.Variable([[2.0]])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def count(text: Any) -> dict[str, Any]:
        lengths = tf.cast(tf.strings.split(text).row_lengths(), tf.float32)
        return {"doubled": tf.matmul(lengths[:, None], module.weights), "upper": tf.strings.upper(text)}

    tf.saved_model.save(module, str(folder / "saved"), signatures={"serving_default": count})
    return folder


@pytest.fixture(scope="module")
def compiled(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Release], list[str]]:
    """Both sources through the real workers, as a preview does it, and what was said meanwhile."""
    cache, said = ReleaseCache(tmp_path_factory.mktemp("cache") / "releases"), list[str]()

    async def both() -> list[Release]:
        made = (CompileRequest(name, name, "serving-only", base_directory=texts) for name in ("mood", "saved"))
        return await asyncio.gather(*(compile_release(request, cache, said.append) for request in made))

    return dict(zip(("mood", "saved"), asyncio.run(both()), strict=True)), said


@pytest.fixture(scope="module")
def ask(compiled: tuple[dict[str, Release], list[str]]) -> Iterator[Callable[[str, dict[str, Any]], Any]]:
    """A REST predict call to the release's serving variant in the embedded server."""
    from isthmus.server.app import serving

    def call(name: str, body: dict[str, Any]) -> Any:
        with serving(compiled[0][name].directory / SERVING, name) as url:
            reply = requests.post(f"{url}/v1/models/{name}:predict", data=json.dumps(body), timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()

    return call


def test_the_release_has_the_serving_variant_alone(compiled: Any) -> None:
    releases, said = compiled
    for release in releases.values():
        manifest, record = release.manifest, release.record
        assert [(variant.kind, variant.recipe) for variant in manifest.variants] == [(SERVING, "float32")]
        assert manifest.recipe == "serving-only"
        assert not (release.directory / EDGE).exists()
        assert record.edge is None
        assert record.serving is not None
        (candidate,) = record.candidates
        assert (candidate.recipe, candidate.size_bytes, candidate.p50_ms) == (
            "serving-only",
            manifest.variant(SERVING).size_bytes,
            record.serving.p50_ms,
        )
        assert record.reason.startswith("serving-only, as asked for: ")
        assert "as shipped" not in record.reason
    assert not [line for line in said if "TFLite" in line or "write the weights" in line]


def test_the_promise_is_judged_on_the_serving_variant(compiled: Any) -> None:
    release = compiled[0]["mood"]
    assert release.manifest.source_accuracy == release.manifest.variant(SERVING).accuracy == 0.75
    assert check_accuracy(release, 0.75, "mood") == []
    (problem,) = check_accuracy(release, 0.9, "mood")
    assert "the serving variant (float32) of mood is right on 0.7500 of 4 held-out examples" in problem.what
    assert "serving-only  accuracy    75 %" in problem.fix
    assert "shipped" not in problem.fix


def test_the_embedded_server_answers_texts_as_the_golden_vectors_say(compiled: Any, ask: Callable[..., Any]) -> None:
    release = compiled[0]["mood"]
    golden = json.loads((release.directory / "golden.json").read_text())
    assert golden["inputs"] == {"words": WORDS}
    answered = ask("mood", {"instances": [{"words": line} for line in WORDS]})["predictions"]
    assert np.abs(np.array(answered) - golden["outputs"]["mood"]).max() <= release.manifest.golden_tolerance <= 0.01


def test_a_saved_model_takes_and_gives_texts(ask: Callable[..., Any]) -> None:
    answer = ask("saved", {"inputs": {"text": ["a good film", "poor"]}})["outputs"]
    assert answer == {"doubled": [[6.0], [2.0]], "upper": ["A GOOD FILM", "POOR"]}


@pytest.mark.parametrize("source", ["mood", "vectorised.keras"])
def test_a_second_compile_in_a_used_process_gives_the_same_digest(compile_here: Compile, texts: Path, source: str) -> None:
    """TensorFlow names look-up tables by counters of all that the process made before."""
    first, second = (compile_here(source, texts, "serving-only", name=name) for name in ("first", "second"))
    assert first.manifest.files == second.manifest.files
    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("source", "recipe", "said"),
    [
        ("vectorised.keras", "int8", "devices have no kernels"),  # at its conversion
        ("mood", "int8", "the edge interpreter cannot run the model"),  # it converts, and fails when it is asked
        ("vectorised.keras", "auto", "devices have no kernels"),
    ],
)
def test_what_devices_cannot_run_is_refused_with_the_way_out(
    compile_here: Compile, texts: Path, source: str, recipe: str, said: str
) -> None:
    with pytest.raises(SourceError, match=said) as raised:
        compile_here(source, texts, recipe)
    assert raised.value.problems[-1].fix.endswith(WAY_OUT)


def test_a_file_for_devices_has_nothing_to_serve(compile_here: Compile, tmp_path: Path, build_tflite: Callable[..., bytes]) -> None:
    (tmp_path / "ready.tflite").write_bytes(build_tflite("LOG"))
    with pytest.raises(SourceError, match=r"tiny\.recipe: 'ready\.tflite' is a file for devices .* Fix: name the model that the file was"):
        compile_here("ready.tflite", tmp_path, "serving-only")
