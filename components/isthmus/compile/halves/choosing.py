"""The few ways of a network to put into its release. Runs in a worker."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from isthmus.compile.halves.measured import Form, Measured, MeasuredCut
from isthmus.compile.halves.surgery import split
from isthmus.compile.halves.translating import missing_operators
from isthmus.compile.halves.ways import plan, situations_of
from isthmus.compile.quantise.flatbuffer import read
from isthmus.errors import Problem, SourceError
from isthmus.partition.cuts import Cut
from isthmus.partition.few import few
from isthmus.partition.wanted import Wanted

SWEEP: Final = tuple(0.1 * 10 ** (step / 8) for step in range(33))
"""Mbit/s for which ways are chosen: 0.1 to 1,000."""
_DIGITS: Final = 12


@dataclass(frozen=True)
class Tail:
    """A way on its way into the release. place: None: the inputs are sent. content: of the tail's file."""

    cut: MeasuredCut
    form: Form
    place: Cut | None
    content: bytes

    @property
    def name(self) -> str:
        """Of its signature: by its content, so that a device never takes another release's tail for its own."""
        digest = hashlib.sha256(self.content + repr(self.form.wire).encode()).hexdigest()
        return f"tail_{self.cut.layers}_{digest[:_DIGITS]}"

    @property
    def head(self) -> str | None:
        """The head's signature; None where the device runs no layer."""
        return f"head_{self.cut.layers}" if self.place else None


def choose_tails(measured: Measured, wanted: Wanted, data: bytes, places: Mapping[int, Cut | None], where: str) -> list[Tail]:
    """The few ways; none where all on the device is as fast as any, and no cut is asked for.

    Args:
        data: of the variant's file. places: its cuts, by the layers that the device runs.

    Raises:
        SourceError: there is no such cut, or none whose tail a server could run.
    """
    contents: dict[int, bytes] = {}
    missing: set[str] = set()
    for cut in measured.cuts:
        place = places[cut.layers]
        content = data if place is None else split(data, place, where).tail
        lacks = missing_operators(read(content, where))
        missing |= set(lacks)
        if not lacks:
            contents[cut.layers] = content
    allowed = tuple(it for it in measured.cuts if it.layers in contents and (wanted.layers is None or it.layers in (0, wanted.layers)))
    if not any(it.layers for it in allowed):
        raise SourceError([_none(measured, wanted, missing, where)])
    plans = [plan(replace(measured, cuts=allowed), it) for it in situations_of(wanted)]
    ways = [(it.cut, it.form) for it in plans[0].offers]  # what keeps the accuracy is the same for all
    latencies = [[way.latency_ms(at) for way in it.choice.ways] for it in plans for at in SWEEP]
    needed = [index for index, (it, _) in enumerate(ways) if wanted.layers and it is not None and it.layers == wanted.layers]
    chosen = few(latencies, plans[0].local[0], plans[0].cloud, needed=needed)
    return [Tail(it, form, places[it.layers], contents[it.layers]) for it, form in (ways[index] for index in chosen) if it and form]


def _none(measured: Measured, wanted: Wanted, missing: set[str], where: str) -> Problem:
    found = [it.layers for it in measured.cuts if it.layers]
    if wanted.layers is not None and wanted.layers not in found:
        what = f"there is no cut behind layer {wanted.layers} of {measured.layers}"
        return Problem(where, what, f"one of {', '.join(map(str, found))}", "`isthmus partition` shows them; or say auto")
    what = f"a server cannot run what is behind a cut: it has no {', '.join(sorted(missing))}"
    return Problem(where, what, "a tail of operators that TensorFlow has too", "leave `partition` out")
