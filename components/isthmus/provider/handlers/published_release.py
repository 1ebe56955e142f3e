"""PublishedRelease: a release's serving variant in a bucket."""

from collections.abc import Sequence

from isthmus.errors import Problem
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


class PublishedReleaseHandler(HandlerBase):
    spec = ResourceSpec(
        name="PublishedRelease",
        description="A release's serving variant (SavedModel, golden vectors, record, manifest) in a bucket, for servers to fetch.",
        inputs={
            "store": STORE,
            "bucket": BUCKET,
            "prefix": PREFIX,
            "digest": Property("string", "the release's digest", replaces=True),
            "owner": OWNER,
            "cache_directory": Property("string", "where this machine keeps releases", compared=False),
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
        self._publish(inputs, context, "")
        return Created(f"{inputs['bucket']}/{inputs['prefix']}{inputs['digest']}", {})

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        self._publish(inputs, context, owner(state, context))
        return {}

    def _publish(self, inputs: Values, context: Context, former_owner: str) -> None:
        from isthmus.release import owners, published

        release, store = find_release(inputs), open_store(inputs)
        owners.claim(store, inputs["prefix"], owner(inputs, context), former_owner)
        context.progress(f"uploading the release ({sum(file.size_bytes for file in published.serving_files(release.manifest))} bytes)")
        published.publish(store, inputs["prefix"], release)

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        from isthmus.release import published

        if not inputs:
            raise not_importable("PublishedRelease", "its store's credentials are not part of its id")
        with gone_with_its_store(inputs):
            # A damaged release counts as none: `up` uploads what is wrong in it again.
            if published.is_sound(open_store(inputs), inputs["prefix"], inputs["digest"]):
                return Found(dict(inputs), {})
        return None

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        from isthmus.release import published

        mark(inputs, published.making_key(inputs["prefix"], inputs["digest"]), context)

    def marked(self, id: str, state: Values, context: Context) -> str:
        from isthmus.release import published

        return marked(state, published.making_key(state["prefix"], state["digest"]))

    def delete(self, id: str, state: Values, context: Context) -> None:
        from isthmus.release import owners, published

        with gone_with_its_store(state):
            store = open_store(state)
            owners.ensure_own(store, state["prefix"], own_names(state, context))
            published.remove(store, state["prefix"], state["digest"])
            owners.give_up(store, state["prefix"])
