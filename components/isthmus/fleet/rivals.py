"""How other updaters decide, for the simulator: as their documentation and sources say, and where these leave it open, in their favour.

In all of them a stop takes effect at once, for every device that has not begun. Their percentages, minimums and thresholds are what their
users set; `benchmarks/fleet_gates.py` tries them both with the numbers that a user would write and tuned as well as can be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isthmus.fleet.simulate import NEVER, Counts, Decision, Looks, Times, first


@dataclass(frozen=True)
class AwsIotJobs:
    """AWS IoT Jobs (`AbortCriteria`): cancelled once more than `minNumberOfExecutedThings` devices have executed the job and more than
    `thresholdPercentage` of these failed, timed out or not. Over the whole job; it has no waves, and gets the same ones here: the next
    opens when all devices of one are done or timed out.

    of: whether "executed" means done, or told of the job; the API's reference has both.
    """

    name: str
    min_executed: int
    threshold_percent: float
    of: Literal["done", "heard"] = "done"

    def decide(self, wave: int, looks: Looks, before: Mapping[str, Counts], times: Times) -> Decision:
        """See the class."""
        failed = looks.failed + looks.timed_out
        done = failed + looks.confirmed
        executed = (done if self.of == "done" else np.maximum(looks.heard, done)) + before[self.of][:, None]
        share = (failed + before["failed"][:, None]) * 100.0
        stops = first((executed > self.min_executed) & (share > self.threshold_percent * executed))
        advances = first(done >= looks.devices)
        return Decision(np.where(advances < stops, advances, NEVER), stops, np.zeros(len(stops), dtype=bool))


@dataclass(frozen=True)
class HawkBit:
    """Eclipse hawkBit (`ThresholdRolloutGroupErrorCondition`, `…SuccessCondition`): the rollout pauses when the errors of a running group
    exceed a percentage of its devices, and the next group starts when the success threshold is reached, while the rest of the group
    goes on. Only what devices report is an error; one that never reports stays "running", and a success is final.

    That an expression that cannot be read is no error, and an empty group a success, is not simulated: the groups here have devices.
    error_percent: of each group. Of both conditions the default is 50.
    """

    name: str
    error_percent: Sequence[float]
    success_percent: float

    def decide(self, wave: int, looks: Looks, before: Mapping[str, Counts], times: Times) -> Decision:
        """See the class."""
        stops = first(looks.failed * 100 > self.error_percent[wave] * looks.devices)
        advances = first(looks.confirmed * 100 >= self.success_percent * looks.devices)
        return Decision(np.where(advances < stops, advances, NEVER), stops, np.ones(len(stops), dtype=bool))


@dataclass(frozen=True)
class FlightControl:
    """Flight Control (`internal/rollout/device_selection`): a batch is complete when every device succeeded, failed or timed out; if the
    percentage of successes, rounded down, is below the threshold (90 by default), the rollout is suspended. Never before.
    """

    name: str
    success_percent: Sequence[float]

    def decide(self, wave: int, looks: Looks, before: Mapping[str, Counts], times: Times) -> Decision:
        """See the class."""
        complete = first(looks.failed + looks.timed_out + looks.confirmed >= looks.devices)
        at = np.minimum(complete, looks.confirmed.shape[1] - 1)
        success = looks.confirmed[np.arange(len(at)), at] * 100 // looks.devices
        passes = success >= self.success_percent[wave]
        advances, stops = np.where(passes, complete, NEVER), np.where(passes, NEVER, complete)
        return Decision(advances, stops, np.ones(len(stops), dtype=bool))
