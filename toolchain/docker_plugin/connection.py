"""One Docker host: its client, and its errors in one line that names host, thing and reason."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import docker
import docker.errors
import requests

from isthmus.errors import PlatformError
from isthmus.provider.docker.ssh import SshAdapter, reach_command

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
# For one answer, not for a whole operation; a stop waits for its own grace period on top.
ANSWER_SECONDS: Final = 60
_FIRST_VERSION: Final = "1.24"  # the oldest that the SDK speaks; asked in it, an engine says its own


class NotFoundError(PlatformError):
    """What was asked for does not exist on the host."""


class ConflictError(PlatformError):
    """The host refuses because of something else that exists or runs on it."""


@dataclass(frozen=True)
class Settings:
    """host: unix:// or ssh://; empty where a preview doesn't know it yet. registries: user name and password by address.
    ssh_options: for the `ssh` command.
    """

    host: str = DEFAULT_HOST
    ssh_options: Sequence[str] = ()
    registries: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)


class Connection:
    """The client is made at first use, so that a host that can't be reached fails the resource that needs it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._client: docker.APIClient | None = None
        self._ssh: SshAdapter | None = None

    @property
    def host(self) -> str:
        return self.settings.host

    @contextmanager
    def client(self, what: str) -> Iterator[docker.APIClient]:
        """The client, for one step. what: names the thing and the step in messages, as in `container web: starting it`.

        Raises:
            PlatformError: with one line; NotFoundError and ConflictError by what the engine answered.
        """
        if not self.host:
            raise PlatformError(f"{what}: the Docker host is not known yet; it depends on a resource that is still to be made")
        try:
            yield self._connected()
        except docker.errors.NotFound as error:
            raise NotFoundError(self._message(what, error.explanation)) from error
        except docker.errors.APIError as error:
            kind = ConflictError if error.status_code == requests.codes.conflict else PlatformError
            raise kind(self._message(what, error.explanation or str(error))) from error
        except (requests.RequestException, docker.errors.DockerException, OSError) as error:
            raise PlatformError(self._unreachable(error)) from error

    def auth(self, image: str) -> Mapping[str, str] | None:
        """The credentials for the registry that an image's name begins with; None: those of the machine's own Docker configuration."""
        first, slash, _ = image.partition("/")
        registry = first if slash and (set(".:") & set(first) or first == "localhost") else "registry-1.docker.io"
        return self.settings.registries.get(registry)

    def failure(self, what: str, reason: str) -> PlatformError:
        """An error of the form that all have."""
        return PlatformError(self._message(what, reason))

    def _message(self, what: str, reason: str) -> str:
        return f"Docker at {self.host}: {what}: {' '.join(str(reason).split())}"

    def _connected(self) -> docker.APIClient:
        with self._lock:
            if self._client is None:
                self._client = self._open()
        return self._client

    def _open(self) -> docker.APIClient:
        first = self._made(_FIRST_VERSION)
        try:
            version = first.version(api_version=False)["ApiVersion"]
        finally:
            first.close()
        return self._made(version)

    def _made(self, version: str) -> docker.APIClient:
        if not self.host.startswith("ssh://"):
            return docker.APIClient(base_url=self.host, version=version, timeout=ANSWER_SECONDS)
        # The SDK opens nothing before the first request, so its socket can be put in later.
        client = docker.APIClient(base_url="unix:///ssh", version=version, timeout=ANSWER_SECONDS)
        self._ssh = SshAdapter(self.host, self.settings.ssh_options, ANSWER_SECONDS)
        client.mount("http+docker://", self._ssh)
        return client

    def _unreachable(self, error: Exception) -> str:
        reason = (self._ssh.said() if self._ssh else "") or _innermost(error)
        ssh = self.host.startswith("ssh://")
        test = reach_command(self.host, self.settings.ssh_options) if ssh else f"docker -H {self.host} version"
        return f"Docker at {self.host} can't be reached: {reason}. Test it with: {test}"


def _innermost(error: BaseException) -> str:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def progress(lines: Iterator[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Of a stream of Docker's messages: (text, error) each; one of the two is empty."""
    for line in lines:
        text = " ".join(str(line[key]) for key in ("id", "status", "progress") if line.get(key))
        yield text, str(line.get("error") or "")
