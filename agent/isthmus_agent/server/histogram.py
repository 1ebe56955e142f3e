"""Times in bounded memory."""

_STEPS = 16
"""Parts of an octave: a quantile is off by 3 % at most."""
_OCTAVES = 32


class Histogram:
    """Whole microseconds, up to 2**32 of them, counted in steps that grow with them."""

    def __init__(self) -> None:
        self._counts = [0] * (_STEPS * _OCTAVES)

    def add(self, microseconds: int) -> None:
        """Counts one."""
        self._counts[_step(max(0, microseconds))] += 1

    def put(self, other: "Histogram") -> None:
        """Counts what another has counted, too."""
        self._counts = [mine + its for mine, its in zip(self._counts, other._counts, strict=True)]

    def quantile(self, percent: int) -> int | None:
        """The time that so many of a hundred do not exceed, by its step's middle; None where there are none."""
        rest = -(-sum(self._counts) * percent // 100)
        for step, count in enumerate(self._counts):
            rest -= count
            if count and rest <= 0:
                return (_least(step) + _least(step + 1) - 1) // 2
        return None


def _step(value: int) -> int:
    octave = max(0, value.bit_length() - _STEPS.bit_length())
    return min(_STEPS * octave + (value >> octave), _STEPS * _OCTAVES - 1)


def _least(step: int) -> int:
    if step < 2 * _STEPS:
        return step
    octave = step // _STEPS - 1
    return (step - _STEPS * octave) << octave
