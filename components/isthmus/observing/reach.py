"""How a gateway, a server or a device is asked from this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import requests
import urllib3
from pydantic_core import from_json, to_json

from isthmus.errors import InputError, PlatformError, Problem, cause
from isthmus.gateway import KEY_HEADER, READY_PATH, TRACK_HEADER
from isthmus.names import TRACKS, model_path
from isthmus.observing import sockets

CONNECT_SECONDS = 5
ANSWER_SECONDS = 30
STATUS_SECONDS = 3
_SHOWN_CHARACTERS = 300


class NoWayError(PlatformError):
    """Nobody can be connected to from here."""


@dataclass(frozen=True)
class Reply:
    """header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Raises ValueError."""
        return from_json(self.body)

    def said(self) -> str:
        """The error in it: a server's is JSON, a gateway's is text."""
        try:
            return str(self.json()["error"])
        except (ValueError, KeyError, TypeError):
            return self.body.decode(errors="replace").strip()[:_SHOWN_CHARACTERS]


@dataclass(frozen=True)
class Client:
    """Who asks. api_key: never shown. track: stable, canary or empty (as the split says). ca: who has signed the gateway's
    certificate; None: somebody whom this machine trusts."""

    api_key: str = field(default="", repr=False)
    track: str = ""
    ca: Path | None = None

    def headers(self) -> dict[str, str]:
        """Of every request."""
        return {name: value for name, value in ((KEY_HEADER, self.api_key), (TRACK_HEADER, self.track)) if value}

    def problems(self) -> list[Problem]:
        """What is wrong with the options as they are written."""
        found = []
        if self.track not in ("", *TRACKS):
            found.append(Problem("--track", f"is {self.track!r}", "stable or canary"))
        if self.ca is not None and not self.ca.is_file():
            found.append(Problem("--ca", f"there is no file {str(self.ca)!r}", "a certificate (PEM)"))
        if not self.api_key.isascii() or not self.api_key.isprintable():
            found.append(Problem("--api-key", "has characters that no header can have", "what the stack's gateway.api_keys has"))
        return found


class Way(Protocol):
    @property
    def note(self) -> str:
        """What the user should know of it; empty: it is the usual one."""
        ...

    def call(self, path: str, body: Any = None) -> Reply:
        """GET, or POST of a JSON body, which may hold arrays.

        Raises NoWayError where no connection can be made, PlatformError where there is no answer.
        """
        ...


@dataclass(frozen=True)
class Direct:
    """By the URL that clients use. verify: the certificate, by the CA's file or whom the machine trusts."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: Path | None = None
    note: str = ""

    def call(self, path: str, body: Any = None) -> Reply:
        try:
            reply = sockets.request(
                "GET" if body is None else "POST",
                f"{self.url}/{path}",
                data=None if body is None else encoded(body),
                headers={**({} if body is None else {"Content-Type": "application/json"}), **self.headers},
                verify=True if self.ca is None else str(self.ca),
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,  # the key is for this gateway alone
            )
        except requests.exceptions.SSLError as error:
            raise PlatformError(_distrust(self.url, error, self.ca)) from None
        except (requests.ConnectTimeout, requests.ConnectionError) as error:
            raise NoWayError(f"no answer from {self.url}: {cause(error)}") from None
        except requests.RequestException as error:
            raise PlatformError(f"no answer from {self.url}: {cause(error)}") from None
        except OSError as error:  # a CA file that holds no certificate
            raise InputError([Problem("--ca", str(error), "a certificate (PEM)")]) from None
        return Reply(reply.status_code, {name.lower(): value for name, value in reply.headers.items()}, reply.content)


@dataclass(frozen=True)
class Server:
    """One that a job gives work to. speed: in multiples of the machine that was measured. lanes: requests at a time.

    note: what the user should know of it; empty: it is a server, asked directly.
    """

    name: str
    way: Way
    speed: float = 1.0
    lanes: int = 2
    note: str = ""


def encoded(body: Any) -> bytes:
    """JSON as model servers read it: with NaN and Infinity, arrays as lists. Seven times as fast as the standard library's."""
    return to_json(body, inf_nan_mode="constants", fallback=lambda array: array.tolist())  # numpy itself is loaded by those who have arrays


def _distrust(url: str, error: Exception, ca: Path | None) -> str:
    fix = "give the file of the CA that signed it: --ca FILE" if ca is None else f"{str(ca)!r} is not the CA that signed it for this name"
    return f"the TLS connection to {url} is not trusted: {cause(error)}. Fix: {fix}"


def gateway_state(url: str) -> str:
    """AVAILABLE, or why not. Needs no key, and trusts any certificate: nothing but a status is read."""
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        status = requests.get(f"{url}{READY_PATH}", timeout=STATUS_SECONDS, verify=False, allow_redirects=False).status_code  # noqa: S501
    except requests.RequestException as error:
        return f"no answer ({type(error).__name__})"
    return "AVAILABLE" if status == 200 else "no server is healthy" if status == 503 else f"answers {status}"


def server_state(url: str, model: str) -> tuple[str, str]:
    """The newest version that a server or device has, and its state. Raises NoWayError where nobody can be connected to.

    Versions that have ended are listed for ever: one of those is what a server has only where there is no other.
    """
    try:
        reply = sockets.request("GET", f"{url}{model_path(model)}", timeout=STATUS_SECONDS, allow_redirects=False).json()
        versions = reply.get("model_version_status") or []
        if not versions:
            return "", str(reply.get("error", "no version"))
        newest = next((it for it in versions if it["state"] != "END"), versions[0])
        return str(newest["version"]), str(newest["state"])
    except (requests.ConnectTimeout, requests.ConnectionError) as error:
        raise NoWayError(f"no answer ({type(error).__name__})") from None
    except (requests.RequestException, ValueError, KeyError, AttributeError) as error:
        return "", f"no answer ({type(error).__name__})"
