"""What one custom resource has to say for itself.

A handler is blocking code over plain values and knows nothing of gRPC: the servicer calls it in a thread of its own,
after the generic checks of its `spec`, and turns what it returns or raises into a reply. Outputs are what the resource has
beside its inputs; the servicer adds those. `preview` is a method apart, so that a preview cannot make anything by mistake.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from isthmus.errors import IsthmusError, PlatformError, Problem
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.schema import ResourceSpec
from isthmus.plugin.values import Path, Properties

Values = Mapping[str, Any]


class StoppedWaitingError(PlatformError):
    """The engine asked to stop (Ctrl-C), or the user's `custom_timeouts` ran out."""


class NotCoveredError(PlatformError):
    """Another plugin for these types can do this, the one that is asked cannot; the text names what."""


class PartlyMadeError(IsthmusError):
    """The resource exists, but is not what was asked for. It stays in the state, and the next update tries again.

    id: of a resource that is being created; left out on update.
    outputs: as `Handler.create` would return them.
    """

    def __init__(self, reasons: Sequence[str], outputs: Values, id: str = "") -> None:
        super().__init__("\n".join(reasons))
        self.reasons = tuple(reasons)
        self.outputs = outputs
        self.id = id


@dataclass
class Context:
    """What surrounds one call of a handler.

    urn: of the resource. making: of the resource (see `schema.MAKING`): a fresh one when it is created, the state's otherwise; empty
        where the state knows none. timeout_seconds: for the whole call, from the user's `custom_timeouts`; None: no such limit.
    progress: shows a line on the resource's row; secrets are taken out of it on the way. warn: the same for a warning, which stays.
    secrets: strings that must not show in anything that others can read.
    """

    urn: str
    cancelled: threading.Event = field(default_factory=threading.Event)
    timeout_seconds: float | None = None
    secrets: frozenset[str] = frozenset()
    secret_properties: frozenset[str] = frozenset()
    progress: Callable[[str], None] = lambda _: None
    warn: Callable[[str], None] = lambda _: None
    started: float = field(default_factory=time.monotonic)
    making: str = ""

    def pause(self, seconds: float) -> None:
        """Waits; every waiting loop of a handler uses it. Raises StoppedWaitingError."""
        if self.cancelled.wait(seconds):
            raise StoppedWaitingError("interrupted")
        if self.timeout_seconds is not None and time.monotonic() - self.started > self.timeout_seconds:
            raise StoppedWaitingError(f"not done within the {self.timeout_seconds:g} s of custom_timeouts")

    def wait_until(self, done: Callable[[], bool], timeout_seconds: float, message: str, interval_seconds: float = 0.1) -> bool:
        """Polls until `done` says so, showing the message with the seconds spent from the second second on.

        Returns False where that took longer than the timeout. Raises StoppedWaitingError.
        """
        start = time.monotonic()
        shown = 1
        while not done():
            spent = time.monotonic() - start
            if spent > timeout_seconds:
                return False
            if spent >= shown + 1:
                shown = int(spent)
                self.progress(f"{message} ({shown} s)")
            self.pause(interval_seconds)
        return True


@dataclass(frozen=True)
class Created:
    """A new resource. id: not empty; what `read` needs to find it, as far as that goes."""

    id: str
    outputs: Properties


@dataclass(frozen=True)
class Found:
    """A resource as it really is. inputs: as a program would have to give them to get exactly this.

    secrets: paths of what may be one, where no program said so: of a resource that is imported.
    """

    inputs: Properties
    outputs: Properties
    secrets: frozenset[Path] = frozenset()


class Handler(Protocol):
    """One custom resource.

    state: inputs and outputs of the last update together. All methods raise IsthmusError with a message for the user.
    """

    spec: ResourceSpec

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        """What is wrong beyond types and required properties. Reads only; inputs may hold UNKNOWN anywhere."""
        ...

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        """What an update would change. Empty: nothing to do."""
        ...

    def deletes_before_replace(self, state: Values, inputs: Values) -> bool:
        """Whether the new resource can only be made once the old one is gone."""
        ...

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        """The outputs as far as they can be known before a create (state is None) or an update. Makes nothing."""
        ...

    def create(self, inputs: Values, context: Context) -> Created:
        """Raises PartlyMadeError where something exists that a later update or delete has to know of."""
        ...

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        """What really exists; None: nothing. state and inputs are empty when the resource is imported."""
        ...

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        """Returns the new outputs."""
        ...

    def delete(self, id: str, state: Values, context: Context) -> None:
        """Leaves nothing behind. What is gone already is no error. Not called for what a later making has taken over."""
        ...

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        """Leaves `context.making` beside the thing, for `marked` to find. Called once the thing is made, whole or in part."""
        ...

    def marked(self, id: str, state: Values, context: Context) -> str:
        """The making that was left there last; empty: none, or there is no such thing."""
        ...


class HandlerBase:
    """What most resources have in common."""

    spec: ResourceSpec

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        return ()

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        return compare(self.spec, old_inputs, inputs)

    def deletes_before_replace(self, state: Values, inputs: Values) -> bool:
        return False

    # For a resource that is a new thing each time, or nothing outside the state.

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        return

    def marked(self, id: str, state: Values, context: Context) -> str:
        return ""


def describe(error: Exception) -> str:
    """An error in words for the user; for one of the operating system, with the file it is about."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def not_importable(kind: str, reason: str) -> IsthmusError:
    return PlatformError(f"{kind} cannot be imported: {reason}. Let a program create it")
