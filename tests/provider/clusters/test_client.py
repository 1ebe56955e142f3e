import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import PlatformError
from isthmus.plugin.handler import Context, StoppedWaitingError
from isthmus.provider.clusters.client import Access, Cluster, UnreachableApiError

CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": n, "cluster": {"server": f"http://127.0.0.1:{port}"}} for n, port in (("one", 1), ("two", 2))],
    "users": [{"name": "u", "user": {"token": "hunter2hunter2"}}],
    "contexts": [{"name": f"c-{n}", "context": {"cluster": n, "user": "u"}} for n in ("one", "two")],
    "current-context": "c-one",
}


def test_a_kubeconfig_is_given_as_content_or_as_a_path(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(json.dumps(CONFIG))
    assert Access(json.dumps(CONFIG)).server() == Access(str(file)).server() == "http://127.0.0.1:1"
    assert Access(json.dumps(CONFIG), "c-two").server() == "http://127.0.0.1:2"
    assert Access().server() == ""


@pytest.mark.parametrize("text", ["/no/such/file", "just words", "a: b\nc: d\n", "{token: hunter2hunter2"])
def test_what_is_no_kubeconfig_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(PlatformError) as error:
        Access(text).server()
    assert "hunter2" not in str(error.value)


def test_a_context_that_is_not_there_is_named() -> None:
    with pytest.raises(PlatformError, match="cannot be used"):
        Cluster(Access(json.dumps(CONFIG), "c-three"), Context(""))


def test_an_api_server_that_stays_away_is_named_without_credentials() -> None:
    with pytest.raises(UnreachableApiError, match=r"127\.0\.0\.1:1 does not answer") as error:
        Cluster(Access(json.dumps(CONFIG)), Context(""), patience_seconds=0.1).config_map("n", "m")
    assert "hunter2" not in str(error.value)


def test_waiting_for_an_api_server_ends_with_a_cancel() -> None:
    context = Context("")
    context.cancelled.set()
    with pytest.raises(StoppedWaitingError):
        Cluster(Access(json.dumps(CONFIG)), context).config_map("n", "m")
