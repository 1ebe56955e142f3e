import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import struct_pb2

from isthmus.plugin.values import UNKNOWN
from isthmus.provider.local.layout import Layout

pytestmark = pytest.mark.slow


def test_it_outlives_the_plugin_and_goes_with_everything_that_was_its_own(
    plugin: Any, new_plugin: Any, folder: Path, processes_below: Any
) -> None:
    directory = folder / "sv"
    with new_plugin() as first:
        supervisor = first.create("LocalSupervisor", {"directory": str(directory)})
    assert [process.pid for process in processes_below(folder)] == [supervisor.outputs["pid"]]
    assert plugin.read(supervisor).outputs == supervisor.outputs
    plugin.delete(supervisor)
    assert not directory.exists()
    assert processes_below(folder) == []


def test_a_preview_makes_nothing(plugin: Any, folder: Path) -> None:
    assert plugin.preview("LocalSupervisor", {"directory": str(folder / "sv")})["pid"] is UNKNOWN
    assert not (folder / "sv").exists()


def test_a_path_too_long_for_a_socket_works_too(plugin: Any, folder: Path) -> None:
    supervisor = plugin.create("LocalSupervisor", {"directory": str(folder / ("long" * 30))})
    assert plugin.read(supervisor) is not None
    plugin.delete(supervisor)
    assert not list(folder.iterdir())


def test_a_path_with_spaces_works_too(plugin: Any, folder: Path) -> None:
    directory = folder / "my own stack"
    supervisor = plugin.create("LocalSupervisor", {"directory": str(directory)})
    inputs = {"supervisor": str(directory), "program": "p", "command": ["sleep", "60"], "ports": {}}
    processes = plugin.create("LocalProcesses", inputs)
    assert len(processes.outputs["pids"]) == 1
    plugin.delete(processes)
    plugin.delete(supervisor)
    assert not directory.exists()


@pytest.mark.parametrize(
    ("directory", "says"),
    [("relative", "absolute"), ("/srv/a*b", "'*'"), ("/srv/100%", "'%'"), ("/srv/../x", "without"), ("/usr", "holds something")],
)
def test_a_folder_that_cannot_be_used_is_refused_at_preview(plugin: Any, directory: str, says: str) -> None:
    (problem,) = plugin.problems("LocalSupervisor", {"directory": directory})
    assert problem.startswith("directory: ")
    assert says in problem


def test_a_second_stack_that_names_the_folder_is_refused_by_the_first_ones_name(
    plugin: Any, supervisor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {"directory": supervisor.outputs["directory"]}
    with monkeypatch.context() as second:
        second.setattr(type(plugin), "urn", staticmethod(lambda kind, name: f"urn:pulumi:second::project::isthmus:index:{kind}::{name}"))
        (problem,) = plugin.problems("LocalSupervisor", inputs)
        assert problem.startswith("directory: ")
        assert "another stack, " in problem
        assert "project/test" in problem
    assert plugin.read(supervisor).outputs == supervisor.outputs


def test_one_that_was_killed_is_drift_and_comes_back_with_its_processes_on_their_ports(
    plugin: Any, supervisor: Any, folder: Path, processes_below: Any, eventually: Any
) -> None:
    inputs = {
        "supervisor": str(folder / "sv"),
        "program": "web",
        "command": ["${python}", "-m", "http.server", "${port.http}", "--bind", "127.0.0.1"],
        "ports": {"http": 0},
        "ready": {"port": "http"},
    }
    web = plugin.create("LocalProcesses", inputs)
    os.kill(supervisor.outputs["pid"], signal.SIGKILL)
    eventually(lambda: plugin.read(supervisor) is None)
    assert plugin.read(web) is None
    assert processes_below(folder), "its child lives on, and would hold the port"

    again = plugin.create("LocalSupervisor", {"directory": str(folder / "sv")})
    web_again = plugin.create("LocalProcesses", inputs)
    assert again.outputs["pid"] != supervisor.outputs["pid"]
    assert web_again.outputs["endpoints"] == web.outputs["endpoints"]
    assert len(processes_below(folder)) == 2


@pytest.mark.parametrize("long", [1, 30])
def test_one_that_was_killed_before_it_was_begun_is_made_by_the_next_update(plugin: Any, folder: Path, long: int) -> None:
    inputs = {"directory": str(folder / ("sv" * long))}
    layout = Layout(Path(inputs["directory"]))
    layout.make()
    assert plugin.problems("LocalSupervisor", inputs) == []
    plugin.delete(plugin.create("LocalSupervisor", inputs))
    layout.make()
    (layout.directory / "logs" / "theirs").write_text("kept")
    (problem,) = plugin.problems("LocalSupervisor", inputs)
    assert "holds something else" in problem
    layout.remove()


def test_one_of_a_stack_that_was_renamed_is_still_its_own_and_of_another_stack_is_not(plugin: Any, folder: Path) -> None:
    inputs = {"directory": str(folder / "sv")}
    supervisor = plugin.create("LocalSupervisor", inputs)
    owner = folder / "sv" / "owner.json"
    written = json.loads(owner.read_text())
    owner.write_text(json.dumps({**written, "stack": "project/former"}))
    assert plugin.problems("LocalSupervisor", inputs, old=supervisor) == []
    plugin.update(supervisor, inputs)
    assert json.loads(owner.read_text()) == written
    owner.write_text(json.dumps({"stack": "project/other", "making": "theirs"}))
    (problem,) = plugin.problems("LocalSupervisor", inputs)
    assert "another stack, project/other" in problem
    with pytest.raises(Exception, match="another stack, project/other"):
        plugin.update(supervisor, inputs)
    with pytest.raises(Exception, match="another stack, project/other, and cannot be imported"):
        plugin.read(type(supervisor)("LocalSupervisor", "it", supervisor.id, struct_pb2.Struct(), struct_pb2.Struct()))
    assert json.loads(owner.read_text())["making"] == "theirs"
    owner.write_text(json.dumps(written))
    plugin.delete(supervisor)


def test_an_update_of_processes_starts_a_supervisor_that_died(plugin: Any, supervisor: Any, folder: Path, eventually: Any) -> None:
    inputs = {"supervisor": str(folder / "sv"), "program": "p", "command": ["sleep", "60"], "ports": {}}
    processes = plugin.create("LocalProcesses", inputs)
    os.kill(supervisor.outputs["pid"], signal.SIGKILL)
    eventually(lambda: plugin.read(supervisor) is None)
    updated = plugin.update(processes, {**inputs, "replicas": 2})
    assert len(updated.outputs["pids"]) == 2


def test_deleting_one_that_was_killed_ends_the_processes_that_it_left(
    plugin: Any, supervisor: Any, folder: Path, processes_below: Any
) -> None:
    plugin.create("LocalProcesses", {"supervisor": str(folder / "sv"), "program": "p", "command": ["sleep", "60"], "ports": {}})
    os.kill(supervisor.outputs["pid"], signal.SIGKILL)
    plugin.delete(supervisor)
    assert processes_below(folder) == []
    assert not (folder / "sv").exists()


def test_it_can_be_imported_by_its_folder(plugin: Any, supervisor: Any) -> None:
    supervisor.inputs, supervisor.state = struct_pb2.Struct(), struct_pb2.Struct()
    assert plugin.read(supervisor).outputs["directory"] == supervisor.id


def test_processes_inherit_no_secret_of_the_plugins_own(supervisor: Any, processes_below: Any, folder: Path) -> None:
    (process,) = processes_below(folder)
    assert not [name for name in process.environ() if name.startswith(("PULUMI", "AWS"))]
