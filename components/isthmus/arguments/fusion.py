"""What a program may say of devices that see the same thing and answer together."""

from typing import Annotated, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.arguments.checking import Checked, Limited, one_of
from isthmus.errors import Problem
from isthmus.limits import FUSION_CLIP_NATS, FUSION_WAIT_MS
from isthmus.names import MAY_LEAVE_DEVICE, STAYS_ON_DEVICE


class FusionArgs(TypedDict, total=False):
    """views: an .npz of labelled examples: what each view shows of them, and `labels`. A device stands for the view that its label `view`
    names. wait_ms: for others, where a request has no deadline. clip_nats: what one may say against a class; left out: learned. evidence:
    `may_leave_device`: what was answered may be told to the group also where `data` says that what was asked stays on the device.
    """

    views: Input[str]
    wait_ms: Input[int]
    clip_nats: Input[float]
    evidence: Input[str]


class FusionSettings(Checked):
    """Bounds and defaults are `isthmus.limits`'."""

    views: Annotated[str, Field(min_length=1)]
    wait_ms: Annotated[int, Limited(FUSION_WAIT_MS)] = FUSION_WAIT_MS.default
    clip_nats: Annotated[float, Limited(FUSION_CLIP_NATS)] | None = None
    evidence: Annotated[str, one_of((STAYS_ON_DEVICE, MAY_LEAVE_DEVICE), "choice")] | None = None

    def problems_beside(self, data: str | None, path: str) -> list[Problem]:
        """What a program has to say before anything of what devices answered leaves them. data: what it says of what they are asked."""
        if self.evidence == STAYS_ON_DEVICE:
            what, fix = "devices that tell each other nothing have no answer together", f"say {MAY_LEAVE_DEVICE}, or remove `fusion`"
            return [Problem(f"{path}.evidence", what, MAY_LEAVE_DEVICE, fix)]
        if data == STAYS_ON_DEVICE and self.evidence is None:
            what = f"tells the group what devices answer, and `data` says {STAYS_ON_DEVICE}: an answer says something of what was asked"
            fix = f"say `evidence: {MAY_LEAVE_DEVICE}` in `fusion`, where that is meant, or remove `fusion`"
            return [Problem(path, what, "a word on evidence beside `data`", fix)]
        return []
