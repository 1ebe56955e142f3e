"""The one place where numbers and names that somebody else wrote are checked.

All of it is bounded, and whatever is wrong is one error, `FormatError`, that says where. Signed documents hold no fractions (canonical JSON
knows none), so that what is measured is said in whole millionths or microseconds.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from isthmus_agent.formats import digests

MOST_NUMBER: Final = 2**53
"""The largest whole number that every reader of JSON reads exactly."""
MILLION: Final = 1_000_000
MINUTE_SECONDS: Final = 60
DAY_SECONDS: Final = 86_400
MOST_DEVICE_CHARACTERS: Final = 128
MOST_NAME_CHARACTERS: Final = 64
MOST_LABEL_CHARACTERS: Final = 128
MOST_LABELS: Final = 32
_MOST_DIGITS: Final = 20
_SHOWN: Final = 40

_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/:@+-]{0,127}")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}")

T = TypeVar("T")


class FormatError(ValueError):
    """What was read is not of the format. where: a path in it, such as `waves[2].share`; empty where there is none.

    The text holds a short, printable piece of what was found at most: it may come from anybody.
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.where = where


def shown(value: object) -> str:
    """A piece of a foreign value that a message can hold: short, ASCII, and never costly to make."""
    if isinstance(value, str):
        return ascii(value[:_SHOWN]) + ("…" if len(value) > _SHOWN else "")
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else f"a number of {value.bit_length()} bits"
    return {dict: "an object", list: "a list", float: "a fraction"}.get(type(value), f"a {type(value).__name__}"[:_SHOWN])


def integer(value: object, where: str, least: int = 0, most: int = MOST_NUMBER) -> int:
    """A whole number from `least` to `most`, both included. Neither true, nor 1.0, nor a text."""
    if type(value) is not int or not least <= value <= most:
        raise FormatError(where, f"found {shown(value)}, expected a whole number from {least} to {most}")
    return value


def decimal(text: str, where: str, least: int = 0, most: int = MOST_NUMBER) -> int:
    """A whole number in decimal digits, written in the one way that there is: no sign, no zero in front."""
    if not _DECIMAL.fullmatch(text):
        raise FormatError(where, f"found {shown(text)}, expected a whole number from {least} to {most}")
    return integer(int(text), where, least, most)


def truth(value: object, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise FormatError(where, f"found {shown(value)}, expected true or false")
    return value


def _matching(pattern: "re.Pattern[str]", expected: str) -> Callable[[object, str], str]:
    def check(value: object, where: str) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise FormatError(where, f"found {shown(value)}, expected {expected}")
        return value

    return check


device_name = _matching(_DEVICE, "a device's name: 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit")
name = _matching(_NAME, "a name: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit")
digest = _matching(digests.PATTERN, digests.EXPECTED)
hash_digits = _matching(digests.DIGITS, "64 hexadecimal digits in lower case")
KEY_NAME_DIGITS: Final = 16
key_name = _matching(re.compile(rf"[0-9a-f]{{{KEY_NAME_DIGITS}}}"), f"{KEY_NAME_DIGITS} hexadecimal digits in lower case")
salt = _matching(re.compile(r"[0-9a-f]{16,64}"), "16 to 64 hexadecimal digits in lower case")
label = _matching(_LABEL, "a label's value: 1 to 128 of A-Z a-z 0-9 space . _ / : @ + -, the first a letter or digit")


def device_class(value: object, where: str) -> str:
    """A class of devices, or `*` for all."""
    return "*" if value == "*" else name(value, where)


def target_path(value: object, where: str, folder: str, ending: str) -> str:
    """The path of a target file: FOLDER/NAME with the ending. Neither a deeper one nor one that leaves the folder."""
    text = value if isinstance(value, str) else ""
    beginning, _, rest = text.partition("/")
    if beginning != folder or not rest.endswith(ending) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", rest):
        raise FormatError(where, f"found {shown(value)}, expected {folder}/NAME{ending}")
    return text


def items(value: object, where: str, most: int, least: int = 0) -> Sequence[object]:
    """A list of so many values."""
    if not isinstance(value, list) or not least <= len(value) <= most:
        found = f"a list of {len(value)}" if isinstance(value, list) else shown(value)
        raise FormatError(where, f"found {found}, expected a list of {least} to {most}")
    return value


def fields(value: object, where: str, needed: Collection[str], optional: Collection[str] = ()) -> Mapping[str, object]:
    """An object with all the needed fields and no others than these and the optional ones.

    An unknown field is refused and not passed over: it may be a condition that this program would not keep. A new one is a new format.
    """
    if not isinstance(value, dict):
        raise FormatError(where, f"found {shown(value)}, expected an object")
    if missing := sorted(set(needed) - value.keys()):
        raise FormatError(_at(where, missing[0]), "it is missing")
    if unknown := value.keys() - set(needed) - set(optional):
        raise FormatError(where, f"unknown field {min(shown(it) for it in unknown)}")
    return value


def labels(value: object, where: str) -> Mapping[str, str]:
    """Labels: names with their values. In the order of the names."""
    if not isinstance(value, dict) or len(value) > MOST_LABELS:
        raise FormatError(where, f"expected an object with {MOST_LABELS} labels at most")
    checked = {name(key, where): label(it, _at(where, str(key)[:MOST_NAME_CHARACTERS])) for key, it in value.items()}
    return dict(sorted(checked.items()))


def unique(values: Sequence[T], where: str, what: str) -> Sequence[T]:
    """The values themselves, each of which stands there once."""
    if len(set(values)) != len(values):
        raise FormatError(where, f"the same {what} twice")
    return values


def _at(where: str, field: str) -> str:
    return f"{where}.{field}" if where else field


def load(content: bytes, what: str, most_bytes: int) -> object:
    """The value in a JSON document. A field that stands twice, a fraction and a number of more than 20 digits are refused."""
    if len(content) > most_bytes:
        raise FormatError("", f"{what} has {len(content)} bytes, expected {most_bytes} at most")
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_int=_short_integer, **_NO_FRACTIONS)
    except FormatError:
        raise
    except (ValueError, RecursionError):
        raise FormatError("", f"{what} is not a JSON document") from None


def dump(value: object) -> bytes:
    """The one way to write a document: the same value, the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FormatError("", "a field stands there twice")
    return found


def _no_fraction(text: str) -> float:
    raise FormatError("", f"found {shown(text)}, expected no fraction")


_NO_FRACTIONS: Final[dict[str, Any]] = {"parse_float": _no_fraction, "parse_constant": _no_fraction}


def _short_integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise FormatError("", f"a number of {len(text)} characters, expected {_MOST_DIGITS} at most")
    return int(text)
