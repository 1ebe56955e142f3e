"""Where a fleet stands with a target: which devices confirm it, which refuse it, and who has yet to answer. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


class DeviceReport(Protocol):
    """What a device said last.

    digest, attempt: of the target that it answers. serving_digest: what it serves now. is_stale: it promised to say
    more by now.
    """

    @property
    def digest(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def state(self) -> Literal["starting", "serving", "refused"]: ...
    @property
    def reason(self) -> str: ...
    @property
    def serving_digest(self) -> str: ...
    @property
    def is_stale(self) -> bool: ...


@dataclass(frozen=True)
class Verdict:
    """Every device is in exactly one of these.

    confirmed: serve the target, and said so of late. refused: device → reason. waiting: device → what is known of it.
    """

    confirmed: tuple[str, ...]
    refused: Mapping[str, str]
    waiting: Mapping[str, str]

    @property
    def is_final(self) -> bool:
        """Whether no device is left to wait for."""
        return not self.waiting

    def progress(self) -> str:
        """One line, such as `2 of 3 devices confirmed; refused: a; waiting for b (starting)`."""
        devices = len(self.confirmed) + len(self.refused) + len(self.waiting)
        parts = [f"{len(self.confirmed)} of {devices} devices confirmed"]
        if self.refused:
            parts.append(f"refused: {', '.join(self.refused)}")
        if self.waiting:
            parts.append("waiting for " + ", ".join(f"{device} ({known})" for device, known in self.waiting.items()))
        return "; ".join(parts)

    def failures(self, deadline_seconds: float) -> list[str]:
        """One line for each device that did not confirm, with its reason."""
        refused = [f"{device} refused: {reason}" for device, reason in self.refused.items()]
        silent = [f"{device} did not confirm within {deadline_seconds:g} s: {known}" for device, known in self.waiting.items()]
        return refused + silent


def judge(digest: str, attempt: int, devices: Sequence[str], reports: Mapping[str, DeviceReport]) -> Verdict:
    """Where the devices stand with the target of this digest and attempt. Reports of other devices do not count.

    A report about any other target, and one that is overdue, confirms nothing: silence is never success.
    """
    confirmed: list[str] = []
    refused: dict[str, str] = {}
    waiting: dict[str, str] = {}
    for device in devices:
        report = reports.get(device)
        if report is None:
            waiting[device] = "silent"
        elif (report.digest, report.attempt) != (digest, attempt):
            waiting[device] = f"last answered attempt {report.attempt}" + (", and is silent since" if report.is_stale else "")
        elif report.state == "refused":
            refused[device] = report.reason or "it gave no reason"
        elif report.is_stale:
            waiting[device] = "silent since it answered"
        elif report.state == "serving" and report.serving_digest == digest:
            confirmed.append(device)
        else:
            waiting[device] = report.state
    return Verdict(tuple(confirmed), refused, waiting)
