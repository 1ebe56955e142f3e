"""From measured cuts to the ways of answering a request, in a situation: how fast devices and cloud are, and how far apart. Pure."""

from dataclasses import dataclass

from isthmus.compile.halves.measured import Form, Measured, MeasuredCut
from isthmus.partition.choice import Choice, Way, choose
from isthmus.partition.wanted import Wanted

LOCAL = "all on the device"
CLOUD = "all in the cloud"


@dataclass(frozen=True)
class Situation:
    """speed_factor, cloud_speed_factor: one run on a device, in the cloud, takes so many times as long as measured here.

    round_trip_ms: of the smallest request, with what the server takes beside its run. max_loss: of accuracy, a share, that sending
    features in eight bits may cost. margin: a share; a way is kept until another is faster by more than that.
    """

    round_trip_ms: float
    speed_factor: float
    cloud_speed_factor: float
    max_loss: float
    margin: float


def situations_of(wanted: Wanted) -> tuple[Situation, ...]:
    """One for each class of devices."""
    rest = (wanted.cloud_speed_factor, wanted.max_loss, wanted.margin)
    return tuple(Situation(wanted.round_trip_ms, factor, *rest) for factor in wanted.speed_factors)


@dataclass(frozen=True)
class Offer:
    """A way with what it is made of. cut, form: None where the device runs all. accuracy: None without evaluation data."""

    way: Way
    cut: MeasuredCut | None
    form: Form | None
    accuracy: float | None


@dataclass(frozen=True)
class Plan:
    """offers: in the order of the choice's ways; the first is all-local, the second all-cloud with the inputs as they are.

    local, cloud: the ways of each extreme, by index.
    """

    offers: tuple[Offer, ...]
    choice: Choice
    local: tuple[int, ...]
    cloud: tuple[int, ...]

    def latency_ms(self, megabits_per_second: float) -> tuple[float, float, float]:
        """Of the choice, of all-local, and of all-cloud in its best form; infinite where nothing arrives."""
        best, *extremes = (
            min(self.choice.ways[index].latency_ms(megabits_per_second) for index in indexes)
            for indexes in ([self.choice.best(megabits_per_second)], self.local, self.cloud)
        )
        return best, extremes[0], extremes[1]


def plan(measured: Measured, situation: Situation) -> Plan:
    """All ways that keep the accuracy, and which is fastest when."""
    offers = [Offer(Way(LOCAL, measured.whole_ms * situation.speed_factor, 0.0), None, None, measured.accuracy)]
    for cut in measured.cuts:
        offers += [Offer(_way(cut, form, situation), cut, form, form.accuracy) for form in cut.forms if keeps(form, measured, situation)]
    cloud = tuple(index for index, it in enumerate(offers) if it.cut is not None and not it.cut.layers)
    return Plan(tuple(offers), choose([it.way for it in offers], situation.margin), (0,), cloud)


def keeps(form: Form, measured: Measured, situation: Situation) -> bool:
    """Whether answers that come of a form are as good as asked. What arrives as it was is; without evaluation data nothing else is."""
    if not form.wire.is_quantised:
        return True
    if form.accuracy is None or measured.accuracy is None:
        return False
    return form.accuracy >= measured.accuracy - situation.max_loss - 1e-12  # the last bit of a difference of shares


def _way(cut: MeasuredCut, form: Form, situation: Situation) -> Way:
    place = f"cut {cut.layers}" if cut.layers else CLOUD
    device_ms = (cut.head_ms + form.encode_ms) * situation.speed_factor
    cloud_ms = (cut.tail_ms + form.decode_ms) * situation.cloud_speed_factor
    return Way(f"{place}, {form.wire.name}", device_ms + situation.round_trip_ms + cloud_ms, form.sent_bytes)
