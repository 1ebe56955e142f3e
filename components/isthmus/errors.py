"""The errors that Isthmus raises, by the viewpoint of who can mend them.

Every message for a user says what is wrong, where, what was expected and how to fix it. A `Problem` is one such
message; an error that comes from the user's input carries all the problems found at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def property_path(steps: Iterable[str | int], within: str = "") -> str:
    """Pulumi's spelling of a path: `ports.http`, `devices[2]`, `files["a.b"]`. within: a path that is spelled already, to go on from."""
    text = within
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("_", "a").replace("-", "a").isalnum():
            text += f".{step}" if text else step
        else:
            escaped = step.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{escaped}"]'
    return text


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the input.

    path: property path of the offending value, such as `cloud.digits.p95_ms`; empty where there is none.
    what: what is wrong, with the value that was found (never a secret's value).
    expected: what would have been right.
    fix: what the user can do about it.
    """

    path: str
    what: str
    expected: str = ""
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.what}" if self.path else self.what
        if self.expected:
            text += f"; expected {self.expected}"
        if self.fix:
            text += f". Fix: {self.fix}"
        return text


class IsthmusError(Exception):
    """The root of all errors that Isthmus raises on purpose."""


class InputError(IsthmusError):
    """The user's input is wrong; `problems` has everything that is wrong with it.

    Args:
        problems: at least one problem.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems]
        super().__init__(lines[0] if len(lines) == 1 else "\n".join(f"{i}. {line}" for i, line in enumerate(lines, 1)))


class SourceError(InputError):
    """The model source cannot be read, built or compiled."""


class GateError(InputError):
    """A release or a plan breaks a promise (accuracy, size, latency, feasibility)."""


class IntegrityError(IsthmusError):
    """Content does not match its digest, size or signature. Nobody should use it."""


class StoreError(IsthmusError):
    """The release store cannot be reached, refuses the credentials, or lacks what was asked for."""


class ResourceFullError(IsthmusError):
    """The machine ran out of something (disk, memory, ports) that the user can free."""


class PlatformError(IsthmusError):
    """A platform could not make or keep something (a process that does not become ready, say)."""


def cause(error: BaseException) -> str:
    """The innermost reason, in a few words: what stands around it says where in a library it happened."""
    while True:
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = getattr(error, "strerror", None) or str(error)
    return str(text).rpartition("]: ")[2].rpartition("> : ")[2] or type(error).__name__
