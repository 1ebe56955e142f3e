from typing import Any

from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from isthmus.plugin.values import UNKNOWN, decode, encode, is_known, outermost, redact, secret_strings

scalars = st.one_of(
    st.just(UNKNOWN), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
keys = st.text("abcdef.-_", min_size=1, max_size=5)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += paths_of(item, (*path, key))
    return found


@given(st.dictionaries(keys, values, max_size=4), st.data())
def test_values_and_their_secrets_survive_the_wire(plain: dict[str, Any], data: st.DataObject) -> None:
    candidates = paths_of(plain)
    secrets = frozenset(data.draw(st.lists(st.sampled_from(candidates), max_size=3))) if candidates else frozenset()
    assert decode(encode(plain, secrets)) == (plain, secrets)


def test_nulls_are_left_out_and_whole_numbers_are_ints() -> None:
    plain, _ = decode(encode({"a": None, "b": 2.0, "c": 2.5}))
    assert plain == {"b": 2, "c": 2.5}
    assert isinstance(plain["b"], int)


def test_every_one_of_the_engines_unknown_markers_is_understood() -> None:
    struct = struct_pb2.Struct()
    struct.update({"a": "04da6b54-80e4-46f7-96ec-b56ff0331ba9", "b": ["3eeb2bf0-c639-47a8-9e75-3b44932eb421"]})
    plain, _ = decode(struct)
    assert plain == {"a": UNKNOWN, "b": [UNKNOWN]}
    assert not is_known(plain)


def test_a_secret_of_several_lines_is_taken_out_line_by_line() -> None:
    secrets = secret_strings({"key": {"pem": "-----BEGIN\nabcdef\n"}, "open": "open"}, [("key",)])
    assert redact("it says abcdef and open", secrets) == "it says [secret] and open"


def test_short_secrets_do_not_blacken_the_message() -> None:
    assert redact("attempt 1 of 11", ["1"]) == "attempt 1 of 11"


def test_what_is_in_a_secret_needs_no_mark_of_its_own() -> None:
    assert outermost({("a",), ("a", "b"), ("a", 0, "c"), ("b", "c"), ("b", "c", 1)}) == {("a",), ("b", "c")}
