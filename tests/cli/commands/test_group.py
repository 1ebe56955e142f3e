"""`isthmus group learn`; the compiler is a stand-in, the interpreter is the real one."""

import json

import numpy as np
import pytest
from tests.compile.test_answering import release
from tests.isthmus_agent import tiny_model
from typer.testing import CliRunner

from isthmus.cli.commands.compile import releases as compiling
from isthmus.cli.main import app
from isthmus.errors import IsthmusError
from isthmus_agent.formats import digests, fusion_group

RELEASE = digests.of(b"one")
LABELS = np.arange(60) % 3


def seen(noise: float, seed: int) -> np.ndarray:
    """What a member sees of examples of the tiny model's three classes."""
    return np.eye(4)[LABELS] + np.random.default_rng(seed).normal(0, noise, (60, 4))


@pytest.fixture
def views():
    return {"door": seen(0.5, 1), "north": seen(0.6, 2), "yard": seen(0.7, 3)}


@pytest.fixture
def outputs(views):
    return {name: tiny_model.answer(values) for name, values in views.items()}


def saved(tmp_path, arrays, labels=LABELS):
    file = tmp_path / "arrays.npz"
    np.savez(file, **arrays, **({} if labels is None else {"labels": labels}))
    return str(file)


def learned(*arguments):
    return CliRunner().invoke(app, ["group", "learn", *map(str, arguments)], env={"COLUMNS": "160"})


def said(*arguments):
    done = learned(*arguments)
    assert isinstance(done.exception, IsthmusError), done.output
    return str(done.exception)


def test_recorded_answers_make_a_group_of_the_release_they_are_of(tmp_path, outputs):
    file = tmp_path / "group.json"
    done = learned(RELEASE, "--outputs", saved(tmp_path, outputs), "--out", file)
    assert done.exit_code == 0, done.output
    group = fusion_group.read(file.read_bytes(), RELEASE)
    assert [it.name for it in group.members] == ["door", "north", "yard"]
    for part in ("door", "group without it", "on 60 examples", "above door", "one lies, one is missing", RELEASE, str(file)):
        assert part in done.output


def test_json_has_the_group_with_its_digest_and_every_figure(tmp_path, outputs):
    done = learned(RELEASE, "--outputs", saved(tmp_path, outputs), "--json", "--clip-nats", "3")
    found = json.loads(done.output)
    assert found["group"]["clip_millinats"] == 3000
    assert found["digest"] == fusion_group.from_value(found["group"]).digest
    assert found["figures"]["gain"].keys() == {"value", "low", "high"}
    assert set(found["weights"]) == set(outputs)


@pytest.mark.slow  # starts the interpreter's process
def test_views_are_answered_by_the_releases_edge_variant(tmp_path, views, outputs, monkeypatch):
    made = release(tmp_path)

    async def compile_release(request, cache, progress, *, warn):
        return made

    monkeypatch.setattr(compiling, "compile_release", compile_release)
    monkeypatch.setattr(compiling, "check_request", lambda request, path: [])
    by_views = json.loads(learned("tiny", "--views", saved(tmp_path, views), "--json").output)
    by_outputs = json.loads(learned(made.digest, "--outputs", saved(tmp_path, outputs), "--json").output)
    assert by_views["group"]["release"] == made.digest
    assert by_views["figures"]["group"] == pytest.approx(by_outputs["figures"]["group"])


def test_a_group_of_one_is_said_to_be_one(tmp_path, outputs):
    done = learned(RELEASE, "--outputs", saved(tmp_path, {"door": outputs["door"]}))
    assert "a group of one answers as its member does" in done.output


def test_where_no_gain_is_shown_it_says_so(tmp_path, outputs):
    done = learned(RELEASE, "--outputs", saved(tmp_path, {"a": outputs["door"], "b": outputs["door"]}))
    assert "no gain is shown" in done.output


def test_all_that_is_wrong_with_the_command_is_said_at_once(tmp_path):
    found = said("nowhere", "--clip-nats", "nan", "--out", tmp_path / "no" / "file", "--recipe", "int9")
    for part in ("--views: is missing", "--clip-nats: found 'nan'", "no model 'nowhere'", "--out", "int9"):
        assert part in found


def test_views_and_outputs_together_are_refused(tmp_path, outputs):
    file = saved(tmp_path, outputs)
    assert "--views: stands beside --outputs" in said(RELEASE, "--views", file, "--outputs", file)


def test_views_that_do_not_match_are_one_clear_error(tmp_path, outputs):
    found = said(RELEASE, "--outputs", saved(tmp_path, outputs | {"yard": outputs["yard"][:50]}))
    assert "views do not match: examples of each are door 60, north 60, yard 50, labels 60" in found


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"[]"])
def test_a_file_that_is_no_npz_is_one_message(tmp_path, content):
    file = tmp_path / "x.npz"
    file.write_bytes(content)
    assert "is no sound .npz file" in said(RELEASE, "--outputs", file)
    assert "No such file" in said(RELEASE, "--outputs", tmp_path / "away.npz")


def test_one_array_pickled_ones_and_missing_labels_are_refused(tmp_path, outputs):
    np.save(tmp_path / "one.npy", LABELS)
    assert "is no sound .npz file" in said(RELEASE, "--outputs", tmp_path / "one.npy")
    assert "is no sound .npz file" in said(RELEASE, "--outputs", saved(tmp_path, {"a": np.array([{}] * 60)}))
    assert "no array `labels`" in said(RELEASE, "--outputs", saved(tmp_path, outputs, labels=None))


def test_what_lies_cost_a_group_of_four_is_shown_and_in_json(tmp_path, outputs):
    outputs["yonder"] = outputs["yard"]
    file = saved(tmp_path, outputs)
    done = learned(RELEASE, "--outputs", file, "--clip-nats", "3")
    assert "with memory" in done.output
    assert "stealthy" in done.output
    found = json.loads(learned(RELEASE, "--outputs", file, "--clip-nats", "3", "--json").output)
    assert found["threats"]["by_lie"]["worst"]["remembering"].keys() == {"value", "low", "high"}
    assert found["ways"] is None


def test_all_that_is_wrong_with_the_way_is_said_at_once(tmp_path, outputs):
    file = saved(tmp_path, outputs)
    assert "--way: found 'votes'; expected one of log-odds, features, auto" in said(RELEASE, "--outputs", file, "--way", "votes")
    assert "--views FILE.npz" in said(RELEASE, "--outputs", file, "--way", "auto")
    found = said(RELEASE, "--outputs", file, "--layer", "0", "--head", tmp_path / "head.tflite")
    assert "--layer: stands beside --way log-odds" in found
    assert "--head: stands beside --way log-odds" in found
    assert "--layer: found 0; expected 1 or more" in found


@pytest.mark.slow  # starts the interpreter's process
def test_both_ways_are_compared_and_the_head_is_compiled_as_a_model_is(tmp_path, views, monkeypatch):
    made, asked = release(tmp_path), []

    async def compile_release(request, cache, progress, *, warn):
        asked.append(request)
        return made

    monkeypatch.setattr(compiling, "compile_release", compile_release)
    monkeypatch.setattr(compiling, "check_request", lambda request, path: [])
    head = tmp_path / "head.tflite"
    done = learned("tiny", "--views", saved(tmp_path, views), "--way", "auto", "--layer", "1", "--head", head, "--recipe", "int8")
    assert done.exit_code == 0, done.output
    assert [(it.model, it.recipe) for it in asked] == [("tiny", "int8"), ("group-head", "float32"), ("group-head", "int8")]
    assert head.read_bytes() == tiny_model.tflite()
    for part in ("features above log-odds", "layer 1 (FULLY_CONNECTED)", "chosen", "no device runs a head yet"):
        assert part in done.output


@pytest.mark.slow
def test_a_group_of_one_has_nothing_to_compare(tmp_path, views, monkeypatch):
    made = release(tmp_path)

    async def compile_release(request, cache, progress, *, warn):
        return made

    monkeypatch.setattr(compiling, "compile_release", compile_release)
    monkeypatch.setattr(compiling, "check_request", lambda request, path: [])
    assert "there is nothing to fuse" in said("tiny", "--views", saved(tmp_path, {"door": views["door"]}), "--way", "auto", "--layer", "1")
