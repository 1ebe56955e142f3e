"""The plugin as a whole: its settings and its resource types."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from toolchain.docker_plugin.connection import DEFAULT_HOST, Connection, Settings
from toolchain.docker_plugin.container import Container
from toolchain.docker_plugin.image import RemoteImage
from toolchain.docker_plugin.network import Network
from toolchain.docker_plugin.volume import Volume

from isthmus.errors import Problem
from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.bags.handler import Checked, Difference, Handler
from isthmus.plugin.diffs import Change
from isthmus.plugin.values import UNKNOWN, is_known
from isthmus.provider.docker.ssh import command

_COVERED: Final = frozenset({"host", "sshOpts", "registryAuth", "disableDockerDaemonCheck"})
_REGISTRY: Final = frozenset({"address", "username", "password"})
_OFFICIAL: Final = "install the official plugin (`pulumi plugin install resource docker`), or leave it out"
_NOT_COVERED: Final = "is not covered by the fall-back docker plugin"
_HANDLERS: Final[Mapping[str, Callable[[Connection], Handler]]] = {
    "docker:index/container:Container": Container,
    "docker:index/remoteImage:RemoteImage": RemoteImage,
    "docker:index/network:Network": Network,
    "docker:index/volume:Volume": Volume,
}


class DockerProvider:
    """Serves one Docker host."""

    package = "docker"
    version = "5.2.0"

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self.configure(Bag())

    def check_settings(self, settings: Bag) -> Checked:
        return Checked(settings, list(_problems(settings.values)))

    def diff_settings(self, old: Bag, new: Bag) -> Difference:
        # As with the official plugin, another address is not another place: the host may merely be reached in another way.
        names = sorted({*old.values, *new.values})
        return Difference([Change((name,), "update") for name in names if old.values.get(name) != new.values.get(name)])

    def configure(self, settings: Bag) -> None:
        connection = Connection(_settings(settings.values))
        self._handlers = {token: make(connection) for token, make in _HANDLERS.items()}

    def handler(self, token: str) -> Handler | None:
        return self._handlers.get(token)


def _problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    for name in sorted(values.keys() - _COVERED):
        yield Problem(f"docker:{name}", _NOT_COVERED, fix=_OFFICIAL)
    for index, entry in enumerate(values.get("registryAuth") or ()):
        for name in sorted(entry.keys() - _REGISTRY) if isinstance(entry, Mapping) else ():
            yield Problem(f"docker:registryAuth[{index}].{name}", _NOT_COVERED, fix=_OFFICIAL)
    host = _host(values)
    if host is UNKNOWN:
        return
    if host.startswith("ssh://"):
        try:
            command(host, ())
        except ValueError as error:
            yield Problem("docker:host", f"{host.rpartition('@')[2]!r} is {error}", "unix:///path/of/docker.sock or ssh://user@host:port")
    elif host.startswith("tcp://"):
        fix = "use ssh://user@host, or the official plugin with TLS"
        yield Problem("docker:host", "tcp:// without TLS gives anyone who reaches the port the whole host, and TLS is not covered", fix=fix)
    elif not host.startswith("unix:///"):
        yield Problem("docker:host", f"is {host!r}", "unix:///path/of/docker.sock or ssh://user@host:port")


def _settings(values: Mapping[str, Any]) -> Settings:
    if not is_known(values):
        return Settings("")
    registries = {
        _registry(entry["address"]): {name: entry[name] for name in ("username", "password") if name in entry}
        for entry in values.get("registryAuth") or ()
    }
    return Settings(_host(values), values.get("sshOpts") or (), registries)


def _host(values: Mapping[str, Any]) -> Any:
    return values.get("host") or os.environ.get("DOCKER_HOST") or DEFAULT_HOST


def _registry(address: str) -> str:
    return address.removeprefix("https://").removeprefix("http://").partition("/")[0]
