"""What is wrong with a configuration, all of it at once: a section's fields, each with its check."""

import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from isthmus_agent.formats.numbers import FormatError, shown

_URL: Final = re.compile(r"[!-~]{1,2048}")
_MOST_SOCKET_PATH_BYTES: Final = 107

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. where: a property's path. fix: what to do about it; empty where that is plain."""

    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f". Fix: {self.fix}" if self.fix else "")


class SettingsError(Exception):
    """All that is wrong with a configuration. It holds nothing that may be secret."""

    def __init__(self, problems: Collection[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class Section:
    """One object of the configuration, read so that every problem is found."""

    def __init__(self, value: object, where: str, problems: list[Problem]) -> None:
        self.where, self.problems = where, problems
        self.value: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        if not isinstance(value, Mapping):
            problems.append(Problem(where, f"found {shown(value)}, expected an object"))

    def path(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def names(self, required: Collection[str], optional: Collection[str]) -> None:
        """Notes fields that are missing, and those that nobody knows."""
        for name in required:
            if name not in self.value:
                self.problems.append(Problem(self.path(name), "it is missing"))
        for name in sorted(self.value.keys() - {*required, *optional}):
            what = f"unknown, expected one of {', '.join(sorted({*required, *optional}))}"
            self.problems.append(Problem(self.path(shown(name).strip("'")), what, "remove it"))

    def get(self, name: str, check: Callable[[Any, str], T], default: T) -> T:
        """A field's value; the default where it is left out, or wrong."""
        if name not in self.value:
            return default
        try:
            return check(self.value[name], self.path(name))
        except FormatError as error:
            self.problems.append(Problem(error.where or self.path(name), str(error).removeprefix(f"{error.where}: ")))
            return default

    def section(self, name: str) -> "Section":
        """A field that is an object; an empty one where it is left out."""
        return Section(self.value.get(name, {}), self.path(name), self.problems)


def between(least: float, most: float) -> Callable[[Any, str], float]:
    def check(value: Any, where: str) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not least <= value <= most:
            found = repr(value) if isinstance(value, float) else shown(value)
            raise FormatError(where, f"found {found}, expected a number from {least:g} to {most:g}")
        return float(value)

    return check


def matching(pattern: "re.Pattern[str]", expected: str) -> Callable[[Any, str], str]:
    def check(value: Any, where: str) -> str:
        is_sound = isinstance(value, str) and pattern.fullmatch(value) and not {".", ".."} & set(value.split("/"))
        if not is_sound:
            raise FormatError(where, f"found {shown(value)}, expected {expected}")
        return str(value)

    return check


def flag(value: Any, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise FormatError(where, f"found {shown(value)}, expected true or false")
    return value


def text(most: int) -> Callable[[Any, str], str]:
    return matching(re.compile(rf"[!-~]{{1,{most}}}"), f"1 to {most} printable characters")


def one_of(choices: Collection[str]) -> Callable[[Any, str], str]:
    def check(value: Any, where: str) -> str:
        if value not in choices:
            raise FormatError(where, f"found {shown(value)}, expected one of {', '.join(choices)}")
        return str(value)

    return check


def secret(value: Any, where: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,4096}", value):
        raise FormatError(where, "expected printable characters without spaces or line ends")
    return value


def endpoint(value: Any, where: str) -> str:
    return _url(value, where, "http://HOST[:PORT] or https://HOST[:PORT], without a path, a user or a query", with_path=False)


def base_url(value: Any, where: str) -> str:
    return _url(value, where, "http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH], without a user or a query", with_path=True)


def _url(value: Any, where: str, expected: str, *, with_path: bool) -> str:
    try:
        parts = urlsplit(value if isinstance(value, str) and _URL.fullmatch(value) else "")
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, is_sound = urlsplit(""), False
    has_more = parts.username or parts.password or parts.query or parts.fragment or (parts.path not in ("", "/") and not with_path)
    if not is_sound or has_more:
        # What was found may have a password in it.
        raise FormatError(where, f"expected {expected}")
    return str(value).rstrip("/")


def absolute(value: Any, where: str) -> Path:
    if not isinstance(value, str) or "\0" in value or not Path(value).is_absolute():
        raise FormatError(where, f"found {shown(value)}, expected an absolute path")
    return Path(value)


def readable(value: Any, where: str) -> Path:
    path = absolute(value, where)
    if not os.access(path, os.R_OK):
        raise FormatError(where, f"cannot read {shown(value)}, expected certificates in PEM")
    return path


def socket_path(value: Any, where: str) -> Path:
    path = absolute(value, where)
    if len(os.fsencode(path)) > _MOST_SOCKET_PATH_BYTES:
        raise FormatError(where, f"expected a path of {_MOST_SOCKET_PATH_BYTES} bytes at most")
    return path
