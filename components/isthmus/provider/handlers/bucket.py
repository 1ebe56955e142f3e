"""Bucket: an S3 bucket of a store that the stack owns."""

from collections.abc import Sequence
from typing import Final

from isthmus.errors import Problem
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, Values, not_importable
from isthmus.plugin.schema import ResourceSpec
from isthmus.plugin.values import Properties
from isthmus.provider.handlers.stores import BUCKET, STORE, address_problems, gone_with_its_store, mark, marked, open_store

_MAKING_KEY: Final = ".isthmus/making"


class BucketHandler(HandlerBase):
    spec = ResourceSpec(
        name="Bucket",
        description="An S3 bucket of a store that the stack owns. Deleting it deletes what is in it.",
        inputs={"store": STORE, "bucket": BUCKET},
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        return address_problems(inputs)

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        return {}

    def create(self, inputs: Values, context: Context) -> Created:
        open_store(inputs).ensure_bucket()
        return Created(inputs["bucket"], {})

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("Bucket", "its store's credentials are not part of its id")
        with gone_with_its_store(inputs):
            if open_store(inputs).check():
                return Found(dict(inputs), {})
        return None

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        open_store(inputs).ensure_bucket()
        return {}

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        mark(inputs, _MAKING_KEY, context)

    def marked(self, id: str, state: Values, context: Context) -> str:
        return marked(state, _MAKING_KEY)

    def delete(self, id: str, state: Values, context: Context) -> None:
        with gone_with_its_store(state):
            open_store(state).delete_bucket()
