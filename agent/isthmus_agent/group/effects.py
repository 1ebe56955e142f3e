"""What a device's part in its group wants done, and what it tells whoever asked.

Order matters: a bus does them as they come. What it cannot send it may leave: requests are asked again in time, answers asked for again.
"""

from dataclasses import dataclass

from isthmus_agent.formats.passing import Answer, Request
from isthmus_agent.formats.presence import Presence

Key = tuple[str, int, int]
"""A request at who does it: the asker, its start, and the request's id."""


@dataclass(frozen=True)
class Say:
    """Tells the group that one is there (retained)."""

    presence: Presence


@dataclass(frozen=True)
class Pass:
    """Sends a message to another device."""

    to: str
    message: Request | Answer


@dataclass(frozen=True)
class Work:
    """Does a request here; `Core.done` wants to know what came of it. It may come twice, after a server was lost."""

    key: Key
    stream: str
    payload: bytes


@dataclass(frozen=True)
class Answered:
    """The one answer to a request of one's own."""

    id: int
    payload: bytes


@dataclass(frozen=True)
class Unanswered:
    """A request of one's own that will have no answer, and why."""

    id: int
    why: str


@dataclass(frozen=True)
class Moved:
    """A stream of one's own has another owner; None: nobody, until somebody comes."""

    stream: str
    before: str | None
    after: str | None
    epoch: int


@dataclass(frozen=True)
class Joined:
    """All tiles of a job are done, in their order."""

    job: int
    results: tuple[bytes, ...]


@dataclass(frozen=True)
class Torn:
    """A job that will not be whole, and why."""

    job: int
    why: str


Effect = Say | Pass | Work | Answered | Unanswered | Moved | Joined | Torn
