import pytest

from isthmus.cli.logs import file_lines, show, sources_of
from isthmus.cli.stack_state import StackState
from isthmus.errors import InputError


@pytest.fixture
def state(tmp_path) -> StackState:
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in ("a-server-0", "a-server-1", "a-gateway-0", "a-2-server-0", "f-front-0"):
        (folder / f"{name}.log").write_text("".join(f"{name} line {n}\n" for n in range(5)))
    processes = {name: {"supervisor": str(tmp_path)} for name in ("a-server", "a-gateway", "a-2-server", "f-front")}
    place = {"platform": "local", "programs": ["a-gateway", "a-server"]}
    outputs = {"services": {"a": {"endpoint": "http://x", "place": place}}, "fleets": {"f": {"devices": {"front": "http://y"}}}}
    return StackState("test", outputs, {"LocalProcesses": processes})


def test_each_part_of_a_service_and_of_a_fleet_is_a_source(state):
    assert [source.name for source in sources_of(state, None)] == ["f-front-0", "a-gateway-0", "a-server-0", "a-server-1"]
    assert [source.name for source in sources_of(state, "a")] == ["a-gateway-0", "a-server-0", "a-server-1"]


def test_the_last_lines_come_oldest_first(state):
    shown = []
    show(sources_of(state, "f"), 2, False, lambda name, line: shown.append((name, line)))
    assert shown == [("f-front-0", "f-front-0 line 3"), ("f-front-0", "f-front-0 line 4")]


def test_an_unknown_service_is_named_with_those_that_are_there(state):
    with pytest.raises(InputError, match="has no 'b'; expected one of a, f"):
        sources_of(state, "b")


def test_following_goes_on_over_a_rotation_and_loses_no_line(tmp_path):
    file = tmp_path / "a.log"
    file.write_text("old\n")
    lines = file_lines(file, 10, True)
    found = [next(lines)]
    with file.open("a") as stream:
        stream.write("new\n")
    file.rename(tmp_path / "a.log.1")
    file.write_text("rotated\n")
    found += [next(lines), next(lines)]
    assert found == ["old", "new", "rotated"]
