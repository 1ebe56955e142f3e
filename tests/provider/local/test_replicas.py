from pathlib import Path
from typing import Any

from isthmus.plugin.values import UNKNOWN
from isthmus.provider.local.replicas import Place, known_endpoints, render, replica_from, unknown_names

INPUTS: dict[str, Any] = {
    "program": "web",
    "command": ["${python}", "--port=${port.http}", "${other}", "${python}"],
    "environment": {"WHERE": "${directory}/x"},
    "files": {"f": "${index}"},
    "live_files": {"l": "${port.http} ${socket.inner}"},
    "leftovers": ["/run/${port.http}.sock"],
}


def make(ports: dict[str, int] | None = None, **changes: Any) -> Any:
    return render({**INPUTS, **changes}, 1, Place(Path("/r/web/1"), ports or {"http": 81}, {"inner": "/run/inner"}), "/bin/python3")


def test_variables_are_filled_in_everywhere_and_other_text_is_left_alone() -> None:
    replica = make()
    assert replica.name == "web-1"
    assert replica.command == ("/bin/python3", "--port=81", "${other}", "${python}")
    assert replica.environment == {"WHERE": "/r/web/1/x"}
    assert (replica.files, replica.live_files, replica.leftovers) == ({"f": "1"}, {"l": "81 /run/inner"}, ("/run/81.sock",))
    assert replica.remains == ("/run/81.sock", "/run/inner")


def test_only_what_the_process_read_at_its_start_needs_a_restart() -> None:
    assert not make().needs_restart(make(live_files={"l": "other"}))
    assert make().needs_restart(make(files={"f": "other"}))
    assert make().needs_restart(make(ports={"http": 82}))


def test_a_saved_replica_is_read_back_as_it_was() -> None:
    import json
    from dataclasses import asdict

    assert replica_from(json.loads(json.dumps(asdict(make())))) == make()


def test_a_replica_that_was_saved_before_there_were_sockets_is_read() -> None:
    import json
    from dataclasses import asdict

    saved = json.loads(json.dumps(asdict(make())))
    del saved["sockets"]
    assert replica_from(saved).sockets == {}


def test_a_port_or_socket_that_does_not_exist_is_found_in_any_text() -> None:
    texts = ["${port.http} ${port.htpp}", UNKNOWN, "${port.x}", "${socket.http} ${socket.y}"]
    assert unknown_names(texts, ["http"], ["y"]) == ["port.htpp", "port.x", "socket.http"]


def test_kept_and_fixed_ports_are_known_before_an_update() -> None:
    inputs = {"ports": {"http": 0, "admin": 9}, "replicas": 2}
    assert known_endpoints(inputs, [{"http": 81, "admin": 8}]) == [{"http": 81, "admin": 9}, {"http": UNKNOWN, "admin": 9}]
    assert known_endpoints({**inputs, "replicas": UNKNOWN}, []) is UNKNOWN
