"""What is a device's own in how it answers requests; everything else is TensorFlow Serving's."""

from typing import Final

from isthmus_agent.formats import numbers

HEALTH_PATH: Final = "/healthz"
"""Whether it serves, and which release."""
ROUTING_PATH: Final = "/routing"
"""Where its requests run, and why (`formats.routing`)."""
ANSWERED_BY: Final = "X-Isthmus-Answered-By"
"""The header of a prediction that says whose it is."""
DEVICE, CLOUD, PEER, GROUP = "device", "cloud", "peer", "group"
STAY_ON_DEVICE: Final = "stay_on_device"
STAY_IN_GROUP: Final = "stay_in_group"
"""What a device's configuration says of what it is asked: whether peers of its group may be asked."""
ANSWER_BY: Final = "X-Isthmus-Answer-By"
"""The header of a request that may say DEVICE: nobody else is to be asked, so that nothing of it leaves the device."""
ASKED_BY: Final = "X-Isthmus-Asked-By"
"""The header of a request to the cloud role that says DEVICE: who asks has an answer of its own, and can do without this one."""
SAMPLE: Final = "X-Isthmus-Sample"
"""The header of a request that may say NEVER: it is no sample for the fleet's owner, whatever the owner wants."""
NEVER: Final = "never"
DEADLINE_MS: Final = "X-Isthmus-Deadline-Ms"
"""The header of a request that says within how many milliseconds its answer is wanted, counted from when the request has come in whole."""
MOST_DEADLINE_MS: Final = 600_000


EVENT: Final = "X-Isthmus-Event"
"""The header of a request that names what is to be seen in it, which other devices of the group see as well: they answer it together."""
HEARD: Final = "X-Isthmus-Heard"
"""The header of a prediction of a group: the views whose word was looked at, those that were set aside among them."""
SET_ASIDE: Final = "X-Isthmus-Set-Aside"
"""The header of a prediction of a group: the views that all others held against."""


def deadline_ms(text: str) -> int:
    """A deadline as a request says it. Raises FormatError for every text that says none, and nothing else."""
    return numbers.decimal(text, DEADLINE_MS, 1, MOST_DEADLINE_MS)
