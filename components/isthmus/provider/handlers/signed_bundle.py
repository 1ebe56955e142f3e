"""SignedBundle: a release's edge bundle in a bucket."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.errors import IntegrityError, Problem
from isthmus.owner import ForeignOwnerError
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import Properties, is_known
from isthmus.provider.handlers.owners import OWNER, own_names, owner, prefix_owner_problems
from isthmus.provider.handlers.releases import find_release, publishing_problems
from isthmus.provider.handlers.stores import (
    BUCKET,
    PREFIX,
    STORE,
    gone_with_its_store,
    mark,
    marked,
    open_store,
)

if TYPE_CHECKING:
    from isthmus.release.store import Store


class SignedBundleHandler(HandlerBase):
    spec = ResourceSpec(
        name="SignedBundle",
        description="A release's edge bundle (TFLite file, manifest, golden vectors) in a bucket, with a signature over the manifest.",
        inputs={
            "store": STORE,
            "bucket": BUCKET,
            "prefix": PREFIX,
            "digest": Property("string", "the release's digest", replaces=True),
            "owner": OWNER,
            "cache_directory": Property("string", "where this machine keeps releases", compared=False),
            "private_key": Property("string", "the signing key, PEM", secret=True),
            "check_at_preview": Property("boolean", "whether a preview asks the store", default=False, compared=False),
        },
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        found = publishing_problems(inputs)
        return found if found or inputs["check_at_preview"] is not True else prefix_owner_problems(inputs, old_inputs, context)

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        if is_known([inputs["digest"], inputs["cache_directory"]]):
            find_release(inputs)
        return {}

    def create(self, inputs: Values, context: Context) -> Created:
        self._publish(inputs, context, None)
        return Created(f"{inputs['bucket']}/{inputs['prefix']}{inputs['digest']}", {})

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        self._publish(inputs, context, owner(state, context))
        return {}

    def _publish(self, inputs: Values, context: Context, former_owner: str | None) -> None:
        from isthmus.release import bundle

        release, store = find_release(inputs), open_store(inputs)
        _claim(store, inputs, owner(inputs, context), former_owner)
        context.progress("uploading the bundle")
        bundle.publish(store, inputs["prefix"], release, inputs["private_key"])
        if not _is_sound(inputs):
            # What lay there already had the right size and the wrong content.
            bundle.remove(store, inputs["prefix"], inputs["digest"])
            bundle.publish(store, inputs["prefix"], release, inputs["private_key"])

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("SignedBundle", "the signing key is not part of its id")
        with gone_with_its_store(inputs):
            # A damaged bundle counts as none: `up` uploads it again.
            return Found(dict(inputs), {}) if _is_sound(inputs) else None
        return None

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        from isthmus.release import bundle

        mark(inputs, bundle.making_key(inputs["prefix"], inputs["digest"]), context)

    def marked(self, id: str, state: Values, context: Context) -> str:
        from isthmus.release import bundle

        return marked(state, bundle.making_key(state["prefix"], state["digest"]))

    def delete(self, id: str, state: Values, context: Context) -> None:
        from isthmus.release import bundle, owners

        with gone_with_its_store(state):
            store = open_store(state)
            owners.ensure_own(store, state["prefix"], own_names(state, context))
            bundle.remove(store, state["prefix"], state["digest"])
            owners.give_up(store, state["prefix"])


def _claim(store: "Store", inputs: Values, owner: str, former_owner: str | None) -> None:
    """Makes the prefix the stack's. former_owner: as the state has it; None: there is no state yet.

    A fleet of a time without owners is told by its target: one that another key signed is somebody else's.
    """
    from isthmus.release import fleet, owners, signing

    prefix = inputs["prefix"]
    if not owners.claim(store, prefix, owner, former_owner or "") or former_owner is not None:
        return
    try:
        fleet.read_target(store, prefix, signing.public_key(inputs["private_key"]))
    except IntegrityError:
        store.delete([prefix + owners.OWNER_NAME])
        raise ForeignOwnerError(owners.refusal(store, prefix, "a fleet whose target another key has signed")) from None


def _is_sound(inputs: Values) -> bool:
    """Whether a device could fetch the bundle: complete, every file's content right, signed by this key."""
    from isthmus.release import bundle, signing
    from isthmus.release.store import MissingObjectError

    public_key = signing.public_key(inputs["private_key"])
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        try:
            bundle.fetch(open_store(inputs), inputs["prefix"], inputs["digest"], public_key, Path(folder))
        except (IntegrityError, MissingObjectError):
            return False
    return True
