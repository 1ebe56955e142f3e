"""Which secrets of a stack file are in plain."""

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from isthmus.arguments.checking import Checked
from isthmus.arguments.secrets import SECRET, Mark, Secret, at, in_plain

ENCRYPTED = {"secure": "v1:abc"}


class Inner(Checked):
    name: str = ""
    key: Secret = None


class Outer(Checked):
    inner: Inner = Inner()
    maybe: Inner | None = None
    many: tuple[Inner, ...] = ()
    keys: Annotated[dict[str, Any], SECRET] = Field(default_factory=dict)
    file: Annotated[Any, Mark(holds=lambda text: "\n" in text)] = None


@pytest.mark.parametrize(
    ("raw", "paths"),
    [
        ({"inner": {"name": "a", "key": "k"}}, [("inner", "key")]),
        ({"maybe": {"key": "k"}}, [("maybe", "key")]),
        ({"many": [{"key": "k"}, {"key": ENCRYPTED}, {"key": "l"}]}, [("many", 0, "key"), ("many", 2, "key")]),
        ({"keys": {"a": "k", "b": ENCRYPTED}}, [("keys", "a")]),
        ({"keys": ENCRYPTED}, []),
        ({"file": "/a/path"}, []),
        ({"file": "a:\nfile"}, [("file",)]),
        ({"inner": ENCRYPTED, "many": "nonsense", "keys": ["x"], "no_such": {"key": "k"}}, []),
        ("nonsense", []),
        (None, []),
    ],
)
def test_plain_texts_are_found_where_they_stand_and_nothing_else_is(raw: object, paths: list[tuple[str | int, ...]]) -> None:
    found = list(in_plain(Outer, raw))
    assert [path for path, _ in found] == paths
    assert all(at(raw, path) == text for path, text in found)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*Outer.model_fields, *Inner.model_fields, "secure"]), inner)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_whatever_a_stack_file_holds_each_find_is_a_text_at_its_path(raw: object) -> None:
    for path, text in in_plain(Outer, raw):
        assert isinstance(text, str)
        assert text
        assert at(raw, path) == text
