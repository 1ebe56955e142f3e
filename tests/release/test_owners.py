"""Who may write below a prefix, against a real store."""

import threading

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
