"""Who may write below a prefix of a bucket: the document `{prefix}owner.json`, made before anything else there is.

It is looked for first, and written under the condition that there is none, so that of two stacks that come at once one is told. Not
every store knows such conditions: there a document that was there is seen all the same. It goes when it is the last thing below its
prefix.
"""

import json
from collections.abc import Collection
from typing import Final

from isthmus.errors import IntegrityError
from isthmus.owner import ForeignOwnerError
from isthmus.release.store import MissingObjectError, Store

OWNER_NAME: Final = "owner.json"
_FORMAT: Final = 1
_MAX_BYTES: Final = 4096


def owner_in(store: Store, prefix: str) -> str:
    """The owner of a prefix; empty where nobody has claimed it. Raises ForeignOwnerError where the document cannot be read."""
    try:
        document = json.loads(store.get(prefix + OWNER_NAME, max_bytes=_MAX_BYTES))
        if document["format"] != _FORMAT:
            raise ValueError("another format")
        return str(document["owner"])
    except MissingObjectError:
        return ""
    except (IntegrityError, ValueError, KeyError, TypeError):
        raise ForeignOwnerError(f"{prefix + OWNER_NAME!r} in bucket {store.bucket!r} is no owner document of this Isthmus") from None


def claim(store: Store, prefix: str, owner: str, former: str = "") -> bool:
    """Makes the prefix the owner's; False where it was already. former: an owner from whom it may go over: the stack's former name.

    Raises ForeignOwnerError where it is somebody else's, StoreError.
    """
    data = json.dumps({"format": _FORMAT, "owner": owner}).encode()
    found = owner_in(store, prefix)
    if not found and store.put(prefix + OWNER_NAME, data, only_new=True):
        return True
    found = found or owner_in(store, prefix)
    if found and found not in {owner, former}:
        raise ForeignOwnerError(refusal(store, prefix, found))
    if found and found != owner:
        store.put(prefix + OWNER_NAME, data)
    return False


def ensure_own(store: Store, prefix: str, owners: Collection[str]) -> None:
    """Raises ForeignOwnerError where the prefix is somebody's who is not among `owners`. One that nobody has claimed is fine."""
    found = owner_in(store, prefix)
    if found and found not in owners:
        raise ForeignOwnerError(refusal(store, prefix, found))


def give_up(store: Store, prefix: str) -> None:
    """Removes the document where nothing else lies below the prefix any more."""
    if store.list(prefix) == [prefix + OWNER_NAME]:
        store.delete([prefix + OWNER_NAME])


def refusal(store: Store, prefix: str, owner: str) -> str:
    """Why nothing is done below a prefix."""
    return (
        f"the prefix {prefix!r} of bucket {store.bucket!r} belongs to {owner}. Fix: choose another `store.prefix` or `bucket`; or, "
        f"where that stack is gone for good, delete the object {prefix + OWNER_NAME!r}"
    )
