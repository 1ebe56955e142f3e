"""Bucket: an S3 bucket of a store. It is the stack's where the stack made it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from isthmus.errors import IsthmusError, Problem
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, PartlyMadeError, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import Properties
from isthmus.provider.handlers.owners import OWNER_UNCOMPARED, own_names, owner
from isthmus.provider.handlers.stores import BUCKET, STORE, address_problems, gone_with_its_store, mark, marked, open_store

if TYPE_CHECKING:
    from isthmus.release.store import Store

_MAKING_KEY: Final = ".isthmus/making"
_MOST_NAMED: Final = 3


class BucketHandler(HandlerBase):
    spec = ResourceSpec(
        name="Bucket",
        description="An S3 bucket of a store. One that is there already is used as it is, and stays when the stack goes.",
        inputs={"store": STORE, "bucket": BUCKET, "owner": OWNER_UNCOMPARED},
        outputs={"made": Property("boolean", "whether the stack made it: then it goes with the stack")},
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        return address_problems(inputs)

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        return {"made": True if state is None else state.get("made", True)}

    def create(self, inputs: Values, context: Context) -> Created:
        from isthmus.release import owners

        store, id = open_store(inputs), inputs["bucket"]
        if not store.ensure_bucket():
            return Created(id, {"made": _is_own(store, owner(inputs, context))})
        try:
            owners.claim(store, "", owner(inputs, context))
        except IsthmusError as error:  # the next update claims it
            raise PartlyMadeError([f"the bucket was made, and cannot be claimed: {error}"], {"made": True}, id) from error
        return Created(id, {"made": True})

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("Bucket", "its store's credentials are not part of its id")
        with gone_with_its_store(inputs):
            if open_store(inputs).check():
                return Found(dict(inputs), {"made": state.get("made", False)})
        return None

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        from isthmus.release import owners

        store, own, former = open_store(inputs), owner(inputs, context), owner(state, context)
        made = store.ensure_bucket() or bool(state.get("made"))
        if made and owners.owner_in(store, "") in {"", own, former}:
            owners.claim(store, "", own, former)
        return {"made": made or _is_own(store, own)}

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        from isthmus.release import owners

        if owners.owner_in(open_store(inputs), "") == owner(inputs, context):  # nothing is written into a bucket of others
            mark(inputs, _MAKING_KEY, context)

    def marked(self, id: str, state: Values, context: Context) -> str:
        return marked(state, _MAKING_KEY)

    def delete(self, id: str, state: Values, context: Context) -> None:
        from isthmus.release import owners

        with gone_with_its_store(state):
            store = open_store(state)
            if not state.get("made") or not store.check():
                return
            owners.ensure_own(store, "", own_names(state, context))
            if foreign := _foreign(store, own_names(state, context)):
                more = f" and {len(foreign) - _MOST_NAMED} more" if len(foreign) > _MOST_NAMED else ""
                context.warn(f"bucket {store.bucket!r} stays: it holds what is not this stack's ({', '.join(foreign[:_MOST_NAMED])}{more})")
                return
            store.delete_bucket()


def _is_own(store: "Store", owner: str) -> bool:
    """Whether a bucket that was there is the owner's: made by a create that nobody wrote down."""
    from isthmus.release import owners

    return owners.owner_in(store, "") == owner


def _foreign(store: "Store", owners: frozenset[str]) -> list[str]:
    """The keys that lie below no prefix of these owners'."""
    from isthmus.release.owners import OWNER_NAME, owner_in

    keys = [key for key in store.list("") if key not in {OWNER_NAME, _MAKING_KEY}]
    prefixes = [key.removesuffix(OWNER_NAME) for key in keys if key.endswith(f"/{OWNER_NAME}")]
    own = tuple(prefix for prefix in prefixes if owner_in(store, prefix) in owners)
    others = tuple(prefix for prefix in prefixes if prefix not in own)
    return [key for key in keys if not key.startswith(own) or (others and key.startswith(others))]
