"""A Docker engine, as the handlers see it: one connection for each call, and errors that a user can act on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import docker
import docker.errors
import requests

from isthmus.errors import PlatformError
from isthmus.provider.docker.ssh import SshAdapter, reach_command

TIMEOUT_SECONDS: Final = 60
# Nobody connects to it: the adapter that is mounted there does not look at it.
_BEHIND_SSH: Final = "http://ssh:1"
# Of Docker 20.10; whatever is older has been out of support for years.
_OLDEST_API: Final = "1.41"
# Whoever asks for what by now only newer engines offer, asks in words that all of them know.
_NEWEST_API: Final = "1.44"


@contextmanager
def connect(host: Mapping[str, Any]) -> Iterator[docker.APIClient]:
    """The engine of a resource's `host`. What goes wrong with it inside the block becomes a PlatformError that names the host."""
    adapter: SshAdapter | None = None
    name, address = host["name"], str(host["address"])
    try:
        if address.startswith("ssh://"):
            adapter = SshAdapter(address, host.get("ssh_options") or (), TIMEOUT_SECONDS)
            client = docker.APIClient(base_url=_BEHIND_SSH, version=_OLDEST_API, timeout=TIMEOUT_SECONDS)
            client.mount(_BEHIND_SSH, adapter)
        else:
            client = docker.APIClient(base_url=address, version=_OLDEST_API, timeout=TIMEOUT_SECONDS)
        try:
            client._version = _spoken(client)
            yield client
        finally:
            client.close()
    except docker.errors.APIError as error:
        raise PlatformError(f"host {name}: Docker refuses: {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        said = adapter.said() if adapter else ""
        fix = f" (try: {reach_command(address, host.get('ssh_options') or ())})" if adapter else ""
        raise PlatformError(f"host {name}: cannot reach Docker at {_shown(address)}: {said or _reason(error)}{fix}") from error
    finally:
        if adapter:
            adapter.close()


def _spoken(client: docker.APIClient) -> str:
    """The newest version of the API that both sides know."""
    theirs = str(client.version(api_version=False)["ApiVersion"])
    return min(theirs, _NEWEST_API, key=lambda version: tuple(map(int, version.split("."))))


def _shown(address: str) -> str:
    scheme, _, place = address.partition("://")
    return f"{scheme}://{place.rpartition('@')[2]}"


def _reason(error: BaseException) -> str:
    """The innermost cause says what happened; the ones around it say where in the library."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
