"""HTTP over Unix sockets for `requests`, by URLs such as `http+unix://%2Frun%2Fserver.rest/v1/models/m`."""

import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError

SCHEME = "http+unix"


def url_of(path: str) -> str:
    """The base URL of the server that listens at a path."""
    return f"{SCHEME}://{quote(path, safe='')}"


def shown(url: str) -> str:
    """An URL's address as people read it: host and port, or the socket's path."""
    scheme, _, rest = url.partition("://")
    return f"unix:{unquote(rest)}" if scheme == SCHEME else rest


def request(method: str, url: str, **options: Any) -> requests.Response:
    """`requests.request`, for these URLs as well."""
    with requests.Session() as session:
        session.mount(f"{SCHEME}://", _Adapter())
        return session.request(method, url, **options)


class _Connection(HTTPConnection):
    def __init__(self, path: str, timeout: Any) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def _new_conn(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(self.timeout)
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            raise NewConnectionError(self, f"{self._path}: {error.strerror or error}") from error
        return connection


class _Pool(urllib3.HTTPConnectionPool):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def _new_conn(self) -> _Connection:
        return _Connection(self._path, self.timeout.connect_timeout)


class _Adapter(HTTPAdapter):
    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Mapping[str, str] | None = None, cert: Any = None
    ) -> _Pool:
        return _Pool(unquote(urlsplit(str(request.url)).netloc))

    def request_url(self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> str:
        return request.path_url
