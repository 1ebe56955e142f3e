from types import SimpleNamespace
from typing import Any

import pytest

from isthmus.errors import PlatformError
from isthmus.names import CANARY, STABLE
from isthmus.plugin.handler import Context, StoppedWaitingError
from isthmus.provider.clusters import shifting


@pytest.mark.parametrize(
    ("track", "error", "says_how"),
    [(STABLE, PlatformError, True), (CANARY, PlatformError, False), (STABLE, StoppedWaitingError, False)],
)
def test_who_waits_in_vain_for_servers_is_told_of_the_way_back_without_them(
    monkeypatch: pytest.MonkeyPatch, track: str, error: type[Exception], says_how: bool
) -> None:
    def make(*_: Any) -> None:
        raise error("no servers")

    monkeypatch.setattr(shifting.Room, "make", make)
    monkeypatch.setattr(shifting.Room, "let_go", lambda _: None)
    traffic_map: Any = SimpleNamespace(cluster=None, namespace="n", service="digits", read_or_fail=lambda: None)
    with pytest.raises(error, match="no servers") as caught:
        shifting.shift(traffic_map, Context("urn"), track, lambda old: old)
    assert ("isthmus rollback --at-once" in str(caught.value)) == says_how
