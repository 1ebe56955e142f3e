"""What a resource type, and a plugin as a whole, have to say for themselves; nothing here knows gRPC.

Handlers block: each call runs in a thread of its own. Messages for the user are raised as IsthmusError (PlatformError, mostly).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from isthmus.errors import Problem
from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.diffs import Change
from isthmus.plugin.handler import Context, PartlyMadeError


class HalfMadeError(PartlyMadeError):
    """The resource exists, but is not what was asked for. It stays in the state, and the next update tries again.

    state: as `create` or `update` would have returned it. id: of a resource that is being created; left out on update.
    """

    def __init__(self, reasons: Sequence[str], state: Bag, inputs: Bag, id: str = "") -> None:
        super().__init__(reasons, state.values, id)
        self.state = state
        self.inputs = inputs


@dataclass
class Call(Context):
    """What surrounds one call. Adds to the context of our own resources:

    token: the type token, such as `kubernetes:apps/v1:Deployment`. name: of the resource in the program.
    proposed_name: what the engine would name it where the program gives no name (may be empty, as with an older engine).
    names_allowed: False where the project's configuration disables automatic names.
    random_seed: the same bytes lead to the same name.
    """

    token: str = ""
    name: str = ""
    proposed_name: str = ""
    names_allowed: bool = True
    random_seed: bytes = b""


@dataclass(frozen=True)
class Checked:
    """inputs: as they will be stored. problems: what is wrong with them. Anything here stops the resource."""

    inputs: Bag
    problems: Sequence[Problem] = ()


@dataclass(frozen=True)
class Difference:
    """changes: empty means nothing to do. deletes_before_replace: the new one can only be made once the old one is gone."""

    changes: Sequence[Change] = ()
    deletes_before_replace: bool = False


@dataclass(frozen=True)
class Created:
    """A new resource."""

    id: str
    state: Bag


@dataclass(frozen=True)
class Found:
    """A resource as it really is. inputs: as a program would have to give them to get exactly this. unready: why it does not work."""

    id: str
    inputs: Bag
    state: Bag
    unready: Sequence[str] = ()


class Handler(Protocol):
    """One resource type, or a family of them (`call.token` says which)."""

    def check(self, call: Call, old_inputs: Bag, inputs: Bag) -> Checked:
        """Fills in names and defaults. `inputs` may hold UNKNOWN; secret paths are those of the new inputs only."""
        ...

    def diff(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Difference:
        """What an update would change."""
        ...

    def preview(self, call: Call, id: str, state: Bag | None, old_inputs: Bag, inputs: Bag) -> Bag:
        """The state as far as it can be known before a create (state is None) or an update. Makes nothing."""
        ...

    def create(self, call: Call, inputs: Bag) -> Created:
        """Raises HalfMadeError where something exists that a later update or delete has to know of."""
        ...

    def read(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> Found | None:
        """What really exists; None: nothing. State and inputs are empty when the resource is imported."""
        ...

    def update(self, call: Call, id: str, state: Bag, old_inputs: Bag, inputs: Bag) -> Bag:
        """Returns the new state. Raises HalfMadeError."""
        ...

    def delete(self, call: Call, id: str, state: Bag, old_inputs: Bag) -> None:
        """Leaves nothing behind. What is gone already is no error."""
        ...


class Provider(Protocol):
    """A plugin: its settings, and its handlers by token.

    package: its name in type tokens. version: semver, of the official plugin whose types it serves.
    """

    package: str
    version: str

    def check_settings(self, settings: Bag) -> Checked:
        """Refuses by name what is not covered. Settings come decoded: what Pulumi passes as JSON text is a value here."""
        ...

    def diff_settings(self, old: Bag, new: Bag) -> Difference:
        """Which changed settings mean another place, so that every resource has to be replaced."""
        ...

    def configure(self, settings: Bag) -> None:
        """Called once, before any resource. Must not fail for a place that cannot be reached: the first use reports that."""
        ...

    def handler(self, token: str) -> Handler | None:
        """The handler of a type token; None: no such type here, or not covered."""
        ...
