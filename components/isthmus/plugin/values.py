"""Property values: from the wire to plain Python and back.

Handlers see plain dicts, lists, strings, numbers, booleans and None. What is not known yet, at preview, is `UNKNOWN`.
Which values are secret is kept beside them, as a set of paths, so that no handler has to carry markers around:
`encode(*decode(struct)) == struct`, up to the order of keys and the form of equal numbers.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, Final, final

from google.protobuf import struct_pb2

from isthmus.plugin.signatures import OUTPUT_SIGNATURE, RESOURCE_SIGNATURE, SECRET_SIGNATURE, SIGNATURE_KEY

Path = tuple[str | int, ...]
Properties = dict[str, Any]

_UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# The engine has one marker for each type; a value that is not known yet may come with any of them.
_UNKNOWNS: Final = frozenset(
    {
        _UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)

# Shorter secrets would blacken half of every message and protect nothing.
_SHORTEST_REDACTED = 4


@final
class Unknown:
    """The type of `UNKNOWN`, the value that is known only after the update."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


def decode(struct: struct_pb2.Struct) -> tuple[Properties, frozenset[Path]]:
    """The plain values of a struct, and the paths of the secret ones. Properties that are null are left out."""
    secrets: set[Path] = set()
    plain = {key: _decode(value, (key,), secrets) for key, value in struct.fields.items()}
    return {key: value for key, value in plain.items() if value is not None}, frozenset(secrets)


def _decode(value: struct_pb2.Value, path: Path, secrets: set[Path]) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _decode_struct(value.struct_value, path, secrets)
    if kind == "list_value":
        return [_decode(item, (*path, index), secrets) for index, item in enumerate(value.list_value.values)]
    if kind == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return value.bool_value if kind == "bool_value" else None


def _decode_struct(struct: struct_pb2.Struct, path: Path, secrets: set[Path]) -> Any:
    fields = struct.fields
    signature = fields[SIGNATURE_KEY].string_value if SIGNATURE_KEY in fields else ""
    if signature == SECRET_SIGNATURE:
        secrets.add(path)
        return _decode(fields["value"], path, secrets)
    if signature == OUTPUT_SIGNATURE:
        if fields["secret"].bool_value:
            secrets.add(path)
        return _decode(fields["value"], path, secrets) if "value" in fields else UNKNOWN
    if signature == RESOURCE_SIGNATURE:
        return fields["urn"].string_value
    return {key: _decode(item, (*path, key), secrets) for key, item in fields.items()}


def encode(plain: Mapping[str, Any], secrets: Set[Path] = frozenset()) -> struct_pb2.Struct:
    """The wire form of plain values, those at the paths in `secrets` marked as secret. Paths that lead nowhere do no harm."""
    return struct_pb2.Struct(fields={key: _encode(value, (key,), secrets) for key, value in plain.items() if value is not None})


def _encode(value: Any, path: Path, secrets: Set[Path]) -> struct_pb2.Value:
    encoded = _encode_plain(value, path, secrets)
    if path not in secrets:
        return encoded
    marked = {SIGNATURE_KEY: struct_pb2.Value(string_value=SECRET_SIGNATURE), "value": encoded}
    return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=marked))


def _encode_plain(value: Any, path: Path, secrets: Set[Path]) -> struct_pb2.Value:
    if isinstance(value, Mapping):
        fields = {key: _encode(item, (*path, key), secrets) for key, item in value.items()}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=fields))
    if isinstance(value, list | tuple):
        items = [_encode(item, (*path, index), secrets) for index, item in enumerate(value)]
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))
    return _encode_scalar(value)


def _encode_scalar(value: Any) -> struct_pb2.Value:
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NullValue.NULL_VALUE)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    return struct_pb2.Value(string_value=_UNKNOWN_STRING if value is UNKNOWN else value)


def outermost(paths: Set[Path]) -> frozenset[Path]:
    """The paths that lie below no other one: what is in a secret needs no mark of its own."""
    return frozenset(path for path in paths if not any(path[:length] in paths for length in range(1, len(path))))


def is_known(value: Any) -> bool:
    """Whether nothing in the value is `UNKNOWN`."""
    if isinstance(value, Mapping):
        return all(is_known(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(is_known(item) for item in value)
    return value is not UNKNOWN


def secret_strings(plain: Mapping[str, Any], secrets: Iterable[Path]) -> frozenset[str]:
    """Every string that lies at or below a secret path: what must not show in a message."""
    return frozenset(text for path in secrets for text in _strings(_at(plain, path)))


def _at(value: Any, path: Path) -> Any:
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(str(step))
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret replaced by `[secret]`, a secret of several lines also line by line."""
    lines = {line for secret in secrets for line in (secret, *secret.splitlines())}
    for secret in sorted(lines, key=len, reverse=True):
        if len(secret.strip()) >= _SHORTEST_REDACTED:
            text = text.replace(secret, "[secret]")
    return text
