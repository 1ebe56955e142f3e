from hypothesis import given
from hypothesis import strategies as st

from isthmus.plugin.bags.bag import Bag

KEYS = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=3)
VALUES = st.recursive(st.booleans() | st.text(max_size=3) | st.integers(-9, 9), lambda some: st.lists(some, max_size=3), max_leaves=5)
BAGS = st.dictionaries(KEYS, VALUES, max_size=4).flatmap(
    lambda values: st.sets(st.sampled_from([(key,) for key in values]) if values else st.nothing()).map(
        lambda secrets: Bag(values, frozenset(secrets))
    )
)


@given(BAGS, BAGS, KEYS)
def test_a_bag_that_was_put_in_comes_out_as_it_was(outer: Bag, inner: Bag, key: str) -> None:
    both = outer.containing(key, inner)
    assert both.nested(key) == inner
    assert Bag.of(both.to_struct()) == both
    assert {path for path in both.secrets if path[0] != key} == {path for path in outer.secrets if path[0] != key}


def test_nothing_lies_where_nothing_was_put() -> None:
    assert Bag({"a": 1}).nested("__inputs") == Bag()
    assert Bag({"a": 1}).nested("a") == Bag()
