"""How numbers read, wherever people see them."""

import math
from collections.abc import Sequence


def percent(share: float | None) -> str:
    """A share in [0, 1] as "98.88 %", rounded down: what misses a promise never looks as if it kept it."""
    return "unknown" if share is None else f"{math.floor(share * 10_000 + 1e-6) / 100:g} %"


def kilobytes(size_bytes: int) -> str:
    """Such as "90.2 kB", of 1000 bytes: always this unit, so that sizes beside each other compare."""
    return f"{size_bytes / 1000:.1f} kB"


def money(amount: float) -> str:
    """An amount of some currency, with two decimals."""
    return f"{amount:,.2f}"


def plain(number: float) -> str:
    """A number as a person reads it: four significant digits, but every digit before the point; no exponent down to 0.0001."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def in_bytes(number: float) -> str:
    """A size with its decimal prefix: `12 GB`."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= factor:
            return f"{number / factor:.4g} {unit}"
    return f"{number:.4g} bytes"


def duration(seconds: float) -> str:
    """A time in the unit that suits it: `45 s`, `6.2 min`, `21 h`, `3 days`."""
    for least, unit_seconds, unit in ((2 * 86_400, 86_400, "days"), (2 * 3600, 3600, "h"), (120, 60, "min")):
        if seconds >= least:
            return f"{seconds / unit_seconds:.3g} {unit}"
    return f"{seconds:.3g} s"


def in_columns(rows: Sequence[Sequence[str]], words: int = 0) -> list[str]:
    """Lines of a table in plain text, columns two blanks apart. rows: [rows, columns]. words: so many columns, the first ones, begin at the
    left; the others, numbers, end at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    places = "  ".join(f"{{:{'<' if index < words else '>'}{width}}}" for index, width in enumerate(widths))
    return [places.format(*row).rstrip() for row in rows]
