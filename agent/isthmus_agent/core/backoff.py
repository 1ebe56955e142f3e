"""How long to wait after failures in a row."""

_MOST_DOUBLINGS = 30


def doubled_seconds(first_seconds: float, most_seconds: float, failures: int) -> float:
    """Twice as long with each failure after the first, up to the most. failures: in a row, from 1 on."""
    return min(first_seconds * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), most_seconds)
