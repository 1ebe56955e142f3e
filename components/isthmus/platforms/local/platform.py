"""The `local` platform, as the rest of Isthmus sees it."""

from typing import Any

from isthmus.platforms.local.settings import LocalSettings
from isthmus.platforms.platform import NO_CANARY, Observer, Platform
from isthmus.platforms.served import Served


class LocalPlatform(Platform):
    """This machine: nothing but what `make up` installs."""

    settings = LocalSettings
    server_kind = "local"
    runs_devices = True
    keeps_before = True
    cannot = {  # noqa: RUF012  (never changed)
        "canary": NO_CANARY,
        "gateway.tls_key": "its gateway is for this machine alone, and speaks plain HTTP on loopback",
    }

    def serve(self, *args: Any, **named: Any) -> Served:
        from isthmus.platforms.local import declare

        return declare.serve(*args, **named)

    def observer(self) -> Observer:
        from isthmus.platforms.local import observe

        return observe


PLATFORM = LocalPlatform()
