"""What a model server says of itself, as it is shown."""

from types import SimpleNamespace

import pytest

from isthmus.observing import reach


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ([("2", "AVAILABLE"), ("1", "AVAILABLE")], ("2", "AVAILABLE")),
        ([("3", "LOADING"), ("2", "AVAILABLE")], ("3", "LOADING")),
        ([("9", "END"), ("2", "AVAILABLE"), ("1", "END")], ("2", "AVAILABLE")),
        ([("9", "END"), ("1", "END")], ("9", "END")),
        ([], ("", "not found")),
    ],
)
def test_the_newest_version_that_a_server_still_has_is_shown(monkeypatch, states, shown):
    reply = {"model_version_status": [{"version": version, "state": state} for version, state in states], "error": "not found"}
    monkeypatch.setattr(reach.sockets, "request", lambda *_, **__: SimpleNamespace(json=lambda: reply))
    assert reach.server_state("http://server", "m") == shown
