"""What the core wants done.

The executor does a step's effects in their order. It owes the core this:

- Persist is durable when the next effect begins. If it fails, the effects after it are not done, and PersistFailed is the next event.
- Check, Fetch, Serve and Measure take their time elsewhere; each is answered once, also where it was given up: Checked, Unchanged or
  CheckFailed; Fetched or FetchFailed; Serving or ServeFailed; Measured or Crashed. Serves are done one after the other, and
  one of what is served already is answered by Serving at once.
- A report is queued and never waited for. Of one device and number, a later report replaces an earlier one, but no verdict is ever dropped
  unsent for something that is none.
"""

from dataclasses import dataclass

from isthmus_agent.core.state import Kept
from isthmus_agent.formats.contents import Delta, Variant
from isthmus_agent.formats.report import Outcome, Reason


@dataclass(frozen=True)
class Check:
    """Ask the store. is_conditional: Unchanged is an answer."""

    is_conditional: bool


@dataclass(frozen=True)
class Fetch:
    """Bring a content into its slot: by one of the deltas if what it starts from is held, else whole."""

    variant: Variant
    deltas: tuple[Delta, ...] = ()


@dataclass(frozen=True)
class Cancel:
    """Give up a Fetch. It may still be answered by Fetched."""

    digest: str


@dataclass(frozen=True)
class Persist:
    """Keep this on disk."""

    kept: Kept


@dataclass(frozen=True)
class Serve:
    """Start a server for a content; when it has passed its self-test it takes over, and the one before ends. None: serve nothing."""

    digest: str | None


@dataclass(frozen=True)
class Measure:
    """Ask golden probes of the content in service, and tell what it showed. Whatever its probation limits is measured, never left open."""

    digest: str


@dataclass(frozen=True)
class Sweep:
    """Remove all slots and parts but these."""

    keep: frozenset[str]


@dataclass(frozen=True)
class Say:
    """Report this. Its figures and its signature are the executor's to add."""

    number: int
    digest: str
    outcome: Outcome
    reason: Reason = Reason.NONE
    text: str = ""


Effect = Check | Fetch | Cancel | Persist | Serve | Measure | Sweep | Say
