"""Whether a content in service keeps what its probation asks."""

from isthmus_agent.core.events import Measurement
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Reason


def _limits(probation: Probation, found: Measurement) -> tuple[tuple[int | None, int | None, Reason], ...]:
    return (
        (probation.max_p95_microseconds, found.p95_microseconds, Reason.TOO_SLOW_IN_SERVICE),
        (probation.max_rss_bytes, found.rss_bytes, Reason.TOO_MUCH_MEMORY),
        (probation.max_distribution_distance_millionths, found.distribution_distance_millionths, Reason.PREDICTIONS_MOVED),
    )


def broken(probation: Probation, found: Measurement) -> Reason | None:
    """The first thing that is not kept; None where nothing speaks against the content so far."""
    if not found.golden_probes_passed:
        return Reason.GOLDEN_PROBE_FAILED
    return next((reason for most, it, reason in _limits(probation, found) if most is not None and it is not None and it > most), None)


def is_complete(probation: Probation, found: Measurement, *, has_before: bool) -> bool:
    """Whether everything that is limited was measured. Silence is never success. has_before: there is a version to compare with."""
    missing = {reason for most, it, reason in _limits(probation, found) if most is not None and it is None}
    return not (missing if has_before else missing - {Reason.PREDICTIONS_MOVED})
