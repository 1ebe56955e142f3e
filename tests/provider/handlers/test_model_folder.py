import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import struct_pb2

from isthmus.release.manifest import Release


@pytest.fixture
def inputs(make_release: Callable[..., Release], cache_directory: Path, tmp_path: Path) -> dict[str, Any]:
    return {"digest": make_release().digest, "cache_directory": str(cache_directory), "directory": str(tmp_path / "models" / "digits")}


def names(inputs: dict[str, Any]) -> set[str]:
    directory = Path(inputs["directory"])
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")}


def test_the_serving_variant_is_laid_out_for_a_model_server(plugin: Any, inputs: dict[str, Any]) -> None:
    assert plugin.preview("ModelFolder", inputs)["version"] == 1
    assert not Path(inputs["directory"]).exists()
    folder = plugin.create("ModelFolder", inputs)
    assert folder.outputs["version"] == 1
    assert names(inputs) == {"1/saved_model.pb", "1/variables/data"}
    assert plugin.read(folder).outputs == folder.outputs


def test_another_release_takes_its_place(plugin: Any, inputs: dict[str, Any], make_release: Callable[..., Release]) -> None:
    folder = plugin.create("ModelFolder", inputs)
    folder = plugin.update(folder, {**inputs, "digest": make_release(b"other", version=2).digest})
    assert names(inputs) == {"2/saved_model.pb", "2/variables/data"}
    plugin.update(folder, {**inputs, "digest": make_release(b"third", version=2).digest})
    assert Path(inputs["directory"], "2", "saved_model.pb").read_bytes().endswith(b"third")


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"x" * path.stat().st_size)])
def test_a_missing_or_changed_file_is_drift_that_an_update_mends(
    plugin: Any, inputs: dict[str, Any], damage: Callable[[Path], Any]
) -> None:
    folder = plugin.create("ModelFolder", inputs)
    damage(Path(inputs["directory"], "1", "saved_model.pb"))
    found = plugin.read(folder)
    assert found.outputs["digest"] == "damaged"
    diff = plugin.diff(found, inputs)
    assert dict(diff.detailedDiff).keys() == {"digest"}
    assert not diff.replaces
    mended = plugin.update(found, inputs)
    assert plugin.read(mended).outputs["digest"] == inputs["digest"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "1" / "saved_model.pb").write_bytes(b"x"),
        lambda folder: (folder / "7").mkdir(),
        lambda folder: folder.rename(folder.parent / "elsewhere"),
    ],
    ids=["changed", "a newer version", "moved"],
)
def test_what_was_done_to_it_by_hand_is_seen_without_a_refresh_and_mended(
    plugin: Any, inputs: dict[str, Any], harm: Callable[[Path], Any]
) -> None:
    folder = plugin.create("ModelFolder", inputs)
    assert not plugin.diff(folder, inputs).detailedDiff
    harm(Path(inputs["directory"]))
    assert dict(plugin.diff(folder, inputs).detailedDiff).keys() == {"content"}
    plugin.update(folder, inputs)
    assert not plugin.diff(folder, inputs).detailedDiff


def test_a_version_of_somebody_elses_is_set_aside_and_kept(plugin: Any, inputs: dict[str, Any]) -> None:
    folder = plugin.create("ModelFolder", inputs)
    other = Path(inputs["directory"], "7")
    other.mkdir()
    (other / "saved_model.pb").write_text("theirs")
    assert plugin.read(folder).outputs["digest"] == "damaged"
    plugin.update(folder, inputs)
    assert {path.name for path in Path(inputs["directory"]).iterdir() if path.name.isdecimal()} == {"1"}
    assert Path(inputs["directory"], "not-served-7", "saved_model.pb").read_text() == "theirs"
    assert plugin.engine.texts(ephemeral=False)[-1].endswith("set aside as not-served-7")


def test_a_removed_folder_is_gone(plugin: Any, inputs: dict[str, Any], tmp_path: Path) -> None:
    folder = plugin.create("ModelFolder", inputs)
    Path(inputs["directory"]).rename(tmp_path / "elsewhere")
    assert plugin.read(folder) is None
    plugin.delete(folder)


def test_deleting_removes_what_was_made_and_nothing_else(plugin: Any, inputs: dict[str, Any]) -> None:
    folder = plugin.create("ModelFolder", inputs)
    Path(inputs["directory"], "notes.txt").write_text("mine")
    plugin.delete(folder)
    assert [path.name for path in Path(inputs["directory"]).iterdir()] == ["notes.txt"]


def test_a_model_of_another_stack_is_left_alone(plugin: Any, inputs: dict[str, Any], make_release: Callable[..., Release]) -> None:
    folder = plugin.create("ModelFolder", inputs)
    mark = Path(inputs["directory"], ".making")
    written = json.loads(mark.read_text())
    mark.write_text(json.dumps({**written, "stack": "project/former"}))  # its own, under the name of before
    assert plugin.problems("ModelFolder", inputs, old=folder) == []
    plugin.update(folder, inputs)
    assert json.loads(mark.read_text()) == written
    mark.write_text(json.dumps({"stack": "project/other", "making": "theirs"}))
    other = {**inputs, "digest": make_release(b"other").digest}
    (problem,) = plugin.problems("ModelFolder", other)
    assert "a model of another stack, project/other" in problem
    with pytest.raises(Exception, match="another stack, project/other"):
        plugin.update(folder, other)
    plugin.delete(folder)
    assert plugin.read(folder).outputs == folder.outputs
    with pytest.raises(Exception, match="another stack, project/other, and cannot be imported"):
        plugin.read(type(folder)("ModelFolder", "it", folder.id, struct_pb2.Struct(), struct_pb2.Struct()))


@pytest.mark.parametrize("made_before", [False, True])
def test_what_a_killed_plugin_left_is_picked_up_and_goes(plugin: Any, inputs: dict[str, Any], made_before: bool) -> None:
    folder = plugin.create("ModelFolder", inputs) if made_before else None
    directory = Path(inputs["directory"])
    (directory / ".new-abc12345" / "1").mkdir(parents=True)
    (directory / ".new-abc12345" / "1" / "saved_model.pb").write_text("half of it")
    (directory / ".abc12345.tmp").write_text("half of it")
    if folder is None:
        folder = plugin.create("ModelFolder", inputs)
    else:
        plugin.update(folder, inputs)
    assert sorted(path.name for path in directory.iterdir()) == [".golden.json", ".making", ".release.json", "1"]
    (directory / ".new-abc12345").mkdir()
    plugin.delete(folder)
    assert not directory.exists()


def test_a_folder_with_something_else_in_it_is_left_alone(plugin: Any, inputs: dict[str, Any]) -> None:
    Path(inputs["directory"]).mkdir(parents=True)
    Path(inputs["directory"], "notes.txt").write_text("mine")
    with pytest.raises(Exception, match="holds something else"):
        plugin.create("ModelFolder", inputs)
    assert names(inputs) == {"notes.txt"}


def test_a_release_that_is_not_in_the_cache_fails_at_preview(plugin: Any, inputs: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"digest: release sha256:0+ is not in "):
        plugin.preview("ModelFolder", {**inputs, "digest": "sha256:" + "0" * 64})


def test_two_wrong_properties_are_both_named(plugin: Any, inputs: dict[str, Any]) -> None:
    found = plugin.problems("ModelFolder", {**inputs, "digest": "latest", "directory": "models"})
    assert [text.split(": ")[0] for text in found] == ["digest", "directory"]


def test_it_can_be_imported_by_its_folder(plugin: Any, inputs: dict[str, Any]) -> None:
    folder = plugin.create("ModelFolder", inputs)
    folder.inputs, folder.state = struct_pb2.Struct(), struct_pb2.Struct()
    assert plugin.read(folder).outputs["digest"] == inputs["digest"]
