import json

import pytest

from isthmus.apiserver.errors import ApiError, UnreachableApiError, UnreachablePodError
from isthmus.apiserver.kubeconfig import Access
from isthmus.plugin.handler import Context, StoppedWaitingError
from isthmus.provider.clusters.client import Cluster

NOWHERE = Access(
    json.dumps(
        {
            "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c"}}],
            "current-context": "x",
        }
    )
)


def test_an_api_server_is_waited_for_as_long_as_there_is_patience() -> None:
    with pytest.raises(UnreachableApiError, match="does not answer"):
        Cluster(NOWHERE, Context(""), patience_seconds=0.1).config_map("n", "m")


def test_waiting_for_an_api_server_ends_with_a_cancel() -> None:
    context = Context("")
    context.cancelled.set()
    with pytest.raises(StoppedWaitingError):
        Cluster(NOWHERE, context).config_map("n", "m")


def test_a_pod_that_does_not_answer_is_none_and_one_that_may_not_be_asked_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(NOWHERE, Context(""))
    assert cluster.call_pod("n", "p", 1, "/") is None

    def fail(error: Exception) -> None:
        def call_pod(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(cluster._connection, "call_pod", call_pod)

    fail(UnreachablePodError("it is gone"))
    assert cluster.call_pod("n", "p", 1, "/") is None
    fail(ApiError("you may not", 403, "you may not"))
    with pytest.raises(ApiError, match="you may not"):
        cluster.call_pod("n", "p", 1, "/")
