"""Components of one program do not share a fixed port of the machine."""

import pulumi
import pytest

from isthmus.platforms.local import declare
from isthmus.platforms.local.declare import LocalStack


class Monitor:
    """As there is one for each run of a program."""


def test_two_components_that_ask_for_one_port_are_told_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Monitor(), Monitor()
    monkeypatch.setattr(declare, "get_monitor", lambda: first)
    LocalStack.claim({"alpha.local.port": 8501, "alpha.local.grpc_port": 8500})
    LocalStack.claim({"alpha.local.port": 8501, "gamma.local.port": 0, "delta.local.port": 0})
    with pytest.raises(pulumi.RunError) as raised:
        LocalStack.claim({"beta.local.port": 8501, "beta.local.grpc_port": 8500})
    for kind in ("port", "grpc_port"):
        assert f"beta.local.{kind}: port {8501 if kind == 'port' else 8500} is alpha.local.{kind}'s already" in str(raised.value)
    monkeypatch.setattr(declare, "get_monitor", lambda: second)
    LocalStack.claim({"beta.local.port": 8501})
