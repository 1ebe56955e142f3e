"""FleetRepository: where a fleet is told what to serve, and where its devices say how it goes."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.errors import InputError, IsthmusError, Problem
from isthmus.names import FLEET_REPOSITORY
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties, is_known
from isthmus.provider.handlers.fleets import PLACE, keyring_of, keyring_problems, place_of
from isthmus.provider.handlers.owners import OWNER, own_names, owner, prefix_owner_problems
from isthmus.provider.handlers.stores import (
    access_problems,
    address_problems,
    gone_with_its_store,
    mark,
    marked,
    open_store,
    prefix_problems,
)

if TYPE_CHECKING:
    from isthmus.repository.keyring import Keyring


class FleetRepositoryHandler(HandlerBase):
    spec = ResourceSpec(
        name=FLEET_REPOSITORY,
        description="A fleet's signed repository (TUF) in a bucket: what its devices are told, who they are, and what they say.",
        inputs={
            **PLACE,
            "make_keys": Property(
                "boolean", "whether a key ring that is not there is made, for a store of the stack's own", default=False, compared=False
            ),
            "owner": OWNER,
            "check_at_preview": Property("boolean", "whether a preview asks the store", default=False, compared=False),
        },
        outputs={
            "root_sha256": Property("string", "of the root metadata that devices are enrolled with"),
            "sign_again_at": Property("string", "when the first of its signatures should be made anew, ISO 8601"),
        },
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        found = [*address_problems(inputs), *prefix_problems(inputs)]
        if inputs["make_keys"] is False:
            found += keyring_problems(inputs)
        if not found and inputs["check_at_preview"] is True:
            found += access_problems(inputs) or prefix_owner_problems(inputs, old_inputs, context)
        return found

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = compare(self.spec, old_inputs, inputs)
        if not changes and _is_due(state):
            changes.append(Change(("sign_again_at",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        same = state is not None and not _is_due(state)
        known = state if state is not None and same else {}
        return {name: known.get(name, UNKNOWN) for name in self.spec.outputs}

    def create(self, inputs: Values, context: Context) -> Created:
        return Created(f"{inputs['bucket']}/{inputs['prefix']}", self._bring(inputs, context, ""))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return self._bring(inputs, context, owner(state, context))

    def _bring(self, inputs: Values, context: Context, former_owner: str) -> Properties:
        """The repository there, in line with its key ring, and signed for as long as can be."""
        from isthmus.release import owners
        from isthmus.repository import ceremony
        from isthmus.repository.refresh import refresh

        place = place_of(inputs)
        owners.claim(open_store(inputs), inputs["prefix"], owner(inputs, context), former_owner)
        keyring = _made_keyring(inputs) if inputs["make_keys"] else keyring_of(inputs)
        if ceremony.found(place, keyring):
            context.progress("put an empty repository there")
        waiting = refresh(place, keyring).waiting
        for role, expires in waiting.items():
            fix = "`isthmus fleet refresh` where its key is"
            context.warn(f"role {role} expires on {expires:%Y-%m-%d}, and its key is not here: {fix}")
        return self._outputs(inputs, keyring, set(waiting))

    def _outputs(self, inputs: Values, keyring: "Keyring", others: set[str]) -> Properties:
        """others: roles that somebody else has to sign."""
        import hashlib

        from isthmus.repository.reading import read
        from isthmus.repository.refresh import sign_again_at

        anchor = keyring.anchor()
        due = sign_again_at(read(place_of(inputs), anchor), others)
        return {"root_sha256": hashlib.sha256(anchor).hexdigest(), "sign_again_at": due.isoformat()}

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("FleetRepository", "the folder of its keys is not part of its id")
        with gone_with_its_store(inputs):
            place = place_of(inputs)
            if not place.objects.tag(place.timestamp_key):
                return None
            try:
                outputs = self._outputs(inputs, keyring_of(inputs), set())
            except InputError:  # its key ring is not here any more: what it is by now cannot be told
                outputs = {name: state.get(name) for name in self.spec.outputs}
            except IsthmusError as error:
                raise IsthmusError(f"{error}. Fix: `isthmus fleet recover --keys {inputs['keys']}`") from error
            return Found(dict(inputs), outputs)
        return None

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        from isthmus.repository.objects import making_key

        mark(inputs, making_key(inputs["prefix"]), context)

    def marked(self, id: str, state: Values, context: Context) -> str:
        from isthmus.repository.objects import making_key

        return marked(state, making_key(state["prefix"]))

    def delete(self, id: str, state: Values, context: Context) -> None:
        from isthmus.release import owners
        from isthmus.repository.keyring import FILE_NAME
        from isthmus.rollouts.removing import remove_all

        with gone_with_its_store(state):
            store, prefix = open_store(state), state["prefix"]
            owners.ensure_own(store, prefix, own_names(state, context))
            remove_all(place_of(state))
            owners.give_up(store, prefix)
        keys = Path(state["keys"])
        if state.get("make_keys") and (keys / FILE_NAME).is_file():
            shutil.rmtree(keys)


def _made_keyring(inputs: Values) -> "Keyring":
    """The key ring, made where it is not there: for a store on this machine, whose owner is whoever may read this folder anyway."""
    from isthmus.repository import ceremony, roster
    from isthmus.repository.keyring import FILE_NAME
    from isthmus.repository.keys import KeyNotAtHandError

    folder, fleet = Path(inputs["keys"]), inputs["fleet"]
    if not (folder / FILE_NAME).exists():
        ceremony.init(folder, [fleet], threshold=1, root_keys=1)
    try:
        roster.fleet_secret(roster.secret_uri(fleet), folder)
    except KeyNotAtHandError:
        roster.make_secret(roster.secret_uri(fleet), folder)
    return keyring_of(inputs)


def _is_due(state: Values) -> bool:
    """Whether something should be signed anew by now."""
    when = state.get("sign_again_at")
    try:
        return is_known(when) and isinstance(when, str) and datetime.fromisoformat(when) <= datetime.now(UTC)
    except ValueError:
        return True
