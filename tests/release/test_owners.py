"""Who may write below a prefix, against a real store."""

import threading
from pathlib import Path

import pytest

from isthmus.owner import ForeignOwnerError
from isthmus.release import owners
from isthmus.release.store import Store

PREFIX, OURS, THEIRS = "digits/", "organization/project/dev", "organization/project/prod"


def test_a_prefix_is_claimed_once_and_given_up_when_nothing_else_is_left_there(store: Store) -> None:
    assert owners.owner_in(store, PREFIX) == ""
    assert owners.claim(store, PREFIX, OURS)
    assert not owners.claim(store, PREFIX, OURS)
    assert owners.owner_in(store, PREFIX) == OURS
    store.put(f"{PREFIX}a", b"")
    owners.give_up(store, PREFIX)
    assert owners.owner_in(store, PREFIX) == OURS
    store.delete([f"{PREFIX}a"])
    owners.give_up(store, PREFIX)
    assert store.list("") == []


def test_somebody_elses_prefix_is_refused_by_name_and_stays_theirs(store: Store) -> None:
    owners.claim(store, PREFIX, THEIRS)
    for act in (lambda: owners.claim(store, PREFIX, OURS), lambda: owners.ensure_own(store, PREFIX, {OURS, ""})):
        with pytest.raises(ForeignOwnerError, match=f"'digits/' of bucket .* belongs to {THEIRS}"):
            act()
    assert owners.owner_in(store, PREFIX) == THEIRS
    owners.ensure_own(store, "other/", {OURS})


def test_a_stack_that_was_renamed_keeps_its_prefix(store: Store) -> None:
    owners.claim(store, PREFIX, THEIRS)
    assert not owners.claim(store, PREFIX, OURS, former=THEIRS)
    assert owners.owner_in(store, PREFIX) == OURS


@pytest.mark.parametrize("content", [b"not json", b"{}", b'{"format": 2, "owner": "a/b/c"}', b"[]", b"x" * 5000])
def test_a_document_that_cannot_be_read_is_nobodys_to_overwrite(store: Store, content: bytes) -> None:
    store.put(PREFIX + owners.OWNER_NAME, content)
    with pytest.raises(ForeignOwnerError, match="no owner document"):
        owners.claim(store, PREFIX, OURS)
    assert store.get(PREFIX + owners.OWNER_NAME, max_bytes=10_000) == content


def test_of_many_who_come_at_once_one_gets_the_prefix(store: Store) -> None:
    names = [f"organization/project/{number}" for number in range(8)]
    refused: list[str] = []
    start = threading.Barrier(len(names))

    def claim(name: str) -> None:
        start.wait()
        try:
            owners.claim(store, PREFIX, name)
        except ForeignOwnerError:
            refused.append(name)

    threads = [threading.Thread(target=claim, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted([*refused, owners.owner_in(store, PREFIX)]) == names


class UnconditionalStore(Store):
    """As stores are that do not know conditions: what is put is written."""

    def put(self, key: str, data: bytes | Path, *, only_new: bool = False, over: str = "") -> bool:
        return super().put(key, data)


def test_a_store_without_conditions_takes_nothing_over_either(store: Store) -> None:
    unconditional = UnconditionalStore(store.address, store.bucket)
    assert owners.claim(unconditional, PREFIX, THEIRS)
    with pytest.raises(ForeignOwnerError, match=THEIRS):
        owners.claim(unconditional, PREFIX, OURS)
    assert owners.owner_in(store, PREFIX) == THEIRS
    assert not owners.claim(unconditional, PREFIX, OURS, former=THEIRS)
    assert owners.owner_in(store, PREFIX) == OURS
