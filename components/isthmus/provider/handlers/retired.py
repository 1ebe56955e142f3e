"""Resources of former versions, of which this one makes no more: what a state still has of them is read and deleted.

A fleet was a signed target and signed bundles once, with the signing key in the state. It is a repository now (`FleetRepository`), and the
update that makes that one deletes these.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from isthmus.errors import PlatformError, Problem
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, Values
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import Properties
from isthmus.provider.handlers.owners import own_names
from isthmus.provider.handlers.stores import BUCKET, PREFIX, STORE, gone_with_its_store, marked, open_store

if TYPE_CHECKING:
    from isthmus.release.store import Store

_PRIVATE_KEY: Final = Property("string", "the signing key, PEM", required=False, secret=True)
_DEPRECATED: Final = "made no more: FleetRepository and FleetWave have taken its place"
_PLACE: Final = {"store": STORE, "bucket": BUCKET, "prefix": PREFIX, "private_key": _PRIVATE_KEY}


class _RetiredHandler(HandlerBase):
    """What all of them have in common."""

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        return [Problem("", f"{self.spec.name} is {self.spec.deprecated}", "EdgeFleetRollout makes them")]

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        return {}

    def create(self, inputs: Values, context: Context) -> Created:
        raise PlatformError(f"{self.spec.name} is {self.spec.deprecated}")

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return {name: state[name] for name in self.spec.outputs if name in state}

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        outputs = {name: state[name] for name in self.spec.outputs if name in state}
        return Found(dict(inputs), outputs) if state else None

    def delete(self, id: str, state: Values, context: Context) -> None:
        from isthmus.release import owners
        from isthmus.repository.objects import Place

        if "store" not in state:
            return
        with gone_with_its_store(state):
            store, prefix = open_store(state), state["prefix"]
            owners.ensure_own(store, prefix, own_names(state, context))
            self._remove(store, prefix, state)
            if not store.tag(Place(store, prefix).timestamp_key):
                owners.give_up(store, prefix)

    def _remove(self, store: "Store", prefix: str, state: Values) -> None:
        """Takes away what it made below its prefix."""


class SigningKeyHandler(_RetiredHandler):
    spec = ResourceSpec(
        deprecated=_DEPRECATED,
        name="SigningKey",
        description="Of a former version: an ed25519 key pair, whose private key is a secret of the state.",
        outputs={
            "private_key": Property("string", "the private key, PEM", secret=True),
            "public_key": Property("string", "the public key, PEM"),
        },
    )


class SignedBundleHandler(_RetiredHandler):
    spec = ResourceSpec(
        deprecated=_DEPRECATED,
        name="SignedBundle",
        description="Of a former version: a release's edge bundle in a bucket, with a signature over the manifest.",
        inputs={**_PLACE, "digest": Property("string", "the release's digest")},
    )

    def marked(self, id: str, state: Values, context: Context) -> str:
        return marked(state, f"{_bundle_folder(state)}making")

    def _remove(self, store: "Store", prefix: str, state: Values) -> None:
        folder = _bundle_folder(state)
        store.delete([f"{folder}manifest.dsse.json"])  # the signature first: what has none is fetched by nobody
        store.delete(store.list(folder))


class RolloutHandler(_RetiredHandler):
    spec = ResourceSpec(
        deprecated=_DEPRECATED,
        name="Rollout",
        description="Of a former version: devices of a fleet brought to a release by a signed target.",
        inputs={**_PLACE, "fleet": Property("string", "the fleet's name"), "digest": Property("string", "the release's digest")},
    )

    def marked(self, id: str, state: Values, context: Context) -> str:
        return marked(state, f"{state['prefix']}target.making")

    def _remove(self, store: "Store", prefix: str, state: Values) -> None:
        store.delete([f"{prefix}target.dsse.json", f"{prefix}target.making", *store.list(f"{prefix}reports/")])


def _bundle_folder(state: Values) -> str:
    from isthmus.digest import Digest

    return f"{state['prefix']}bundles/{Digest(state['digest']).hex}/"
