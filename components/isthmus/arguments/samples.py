"""What a program may say of samples of inputs: the owner's consent, by which devices encrypt some of what they are asked to their key.

Left out, nothing that a device is asked leaves it.
"""

from typing import Annotated, Final, TypedDict

from pulumi import Input
from pydantic import BeforeValidator, Field

from isthmus.arguments.checking import Checked, Limited
from isthmus.arguments.formats import Labels
from isthmus.limits import SAMPLES
from isthmus_agent.formats import samples_wanted, x25519
from isthmus_agent.formats.numbers import MILLION, FormatError
from isthmus_agent.formats.samples_wanted import SamplesWanted

BYTES_PER_KILOBYTE: Final = 1000
_PERCENT: Final = 100


class SamplesArgs(TypedDict, total=False):
    """Some of what devices are asked, for the owner of a key and nobody else.

    owner_key: `x25519:BASE64`, as `isthmus keys sampling` shows it. share_percent: of the requests. most_per_day: of a device, evenly over
    the day. most_kilobytes: a larger request, with its answer, is not taken. labels: that a device must have.
    """

    owner_key: Input[str]
    share_percent: Input[float]
    most_per_day: Input[int]
    most_kilobytes: Input[int]
    labels: Input[dict[str, str]]


def _owner_key(value: object) -> object:
    try:
        found = samples_wanted.key_from(value, "")
    except FormatError:
        is_pem = isinstance(value, str) and "BEGIN" in value
        hint = " (what begins with -----BEGIN is the private half, which belongs in no stack)" if is_pem else ""
        # What was found is not repeated: it may be the private half.
        raise ValueError(f"it is no owner's key{hint}; expected {samples_wanted.EXPECTED_KEY}") from None
    if not any(x25519.shared(bytes(x25519.KEY_BYTES), found)):
        raise ValueError("anybody could read what is encrypted to this key; expected one that `isthmus keys sampling` has made")
    return value


class SamplesSettings(Checked):
    """Bounds and defaults are `isthmus.limits.SAMPLES`."""

    owner_key: Annotated[str, BeforeValidator(_owner_key)]
    share_percent: Annotated[float, Limited(SAMPLES["share_percent"])]
    most_per_day: Annotated[int, Limited(SAMPLES["most_per_day"])] = SAMPLES["most_per_day"].default
    most_kilobytes: Annotated[int, Limited(SAMPLES["most_kilobytes"])] = SAMPLES["most_kilobytes"].default
    labels: Labels = Field(default_factory=dict)

    def signed(self) -> SamplesWanted:
        """As it is signed: in whole numbers."""
        return SamplesWanted(
            samples_wanted.key_from(self.owner_key, "owner_key"),
            round(self.share_percent * MILLION / _PERCENT),
            self.most_per_day,
            self.most_kilobytes * BYTES_PER_KILOBYTE,
            self.labels,
        )
