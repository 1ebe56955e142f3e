"""The `docker` platform, as the rest of Isthmus sees it."""

from typing import Any

from isthmus.errors import property_path
from isthmus.platforms.docker.settings import DockerSettings
from isthmus.platforms.platform import NO_CANARY, Observer, Platform, Servers
from isthmus.platforms.served import Served


class DockerPlatform(Platform):
    """Machines with a Docker engine each: a server on each of them."""

    settings = DockerSettings
    cannot = {  # noqa: RUF012  (never changed)
        "canary": NO_CANARY
    }
    needs = {  # noqa: RUF012
        "docker.hosts": "the machines that serve",
        "store": "the S3 store that the hosts fetch releases from",
    }

    def servers(self, section: DockerSettings) -> tuple[Servers, ...]:
        return tuple(
            Servers(property_path(("hosts", index, "server_kind")), it.speed, it.server_kind) for index, it in enumerate(section.hosts)
        )

    def serve(self, *args: Any, **named: Any) -> Served:
        from isthmus.platforms.docker import declare

        return declare.serve(*args, **named)

    def observer(self) -> Observer:
        from isthmus.platforms.docker import observe

        return observe


PLATFORM = DockerPlatform()
