"""Values of the device program's formats, drawn by hypothesis."""

from hypothesis import strategies as st

from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Before, Kept, Wave
from isthmus_agent.formats.contents import Delta, Variant
from isthmus_agent.formats.gate import WHEN_UNCLEAR, Gate
from isthmus_agent.formats.numbers import MILLION, MOST_NUMBER
from isthmus_agent.formats.pace import WHOLE_PACE, Pace
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Figures, Outcome, Reason, Report, Routed
from isthmus_agent.formats.roster import Device, Pending, Roster
from isthmus_agent.formats.samples_wanted import SamplesWanted
from isthmus_agent.formats.turns import Budget, Reached, Turns
from isthmus_agent.formats.window import Window


def _texts(most: int, more: str = "") -> st.SearchStrategy[str]:
    first = st.sampled_from("aZ09")
    return st.builds(str.__add__, first, st.text("bY18._-" + more, max_size=most - 1))


names = _texts(64)
device_names = _texts(128)
digests = st.binary(min_size=32, max_size=32).map(lambda it: f"sha256:{it.hex()}")
salts = st.binary(min_size=8, max_size=8).map(bytes.hex)
labels = st.dictionaries(names, _texts(20, " /:@+"), max_size=3)
content_keys = st.none() | st.binary(min_size=8, max_size=8).map(bytes.hex)
counts = st.integers(0, MOST_NUMBER)
maybe = st.none() | st.integers(0, MOST_NUMBER - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
"""Anything that a JSON parser may hand over."""


def bundles(fleet: str) -> st.SearchStrategy[tuple[Variant, ...]]:
    """Variants of a fleet, each of a class of its own."""
    paths = digests.map(lambda it: f"{fleet}/{it[7:]}.bundle")
    one = st.builds(Variant, names | st.just("*"), digests, paths, st.integers(1, 1 << 32), content_keys)
    return st.lists(one, min_size=1, max_size=3, unique_by=lambda it: it.device_class).map(tuple)


times = st.integers(0, 2**36)
gates = st.builds(
    Gate,
    st.integers(0, 1_000_000),
    st.integers(0, 604_800),
    st.integers(1, 2_592_000),
    st.none() | st.integers(1, 1_000_000),
    st.none() | st.integers(0, 1_000_000),
    st.sampled_from(WHEN_UNCLEAR),
)


paces = st.builds(
    Pace, st.integers(1, 1_000_000), st.lists(st.integers(1, WHOLE_PACE - 1), max_size=3, unique=True).map(lambda it: tuple(sorted(it)))
)


budgets = st.builds(Budget, names, st.integers(1, 1_000_000)) | st.builds(Budget, names, st.none(), st.integers(1, MILLION))


def places(waves: int) -> st.SearchStrategy[dict[str, tuple[int, int]]]:
    """How far each value of a label has come."""
    return st.dictionaries(st.just("") | _texts(20, " /:@+"), st.tuples(st.integers(0, waves), st.integers(0, WHOLE_PACE)), max_size=3)


def waves(gate: st.SearchStrategy[Gate | None], *, are_kept: bool = False) -> st.SearchStrategy[tuple[Wave, ...]]:
    """Waves of one assignment."""
    listed = st.lists(device_names, max_size=3, unique=True).map(tuple)
    pace, reached = (st.none(), st.integers(0, WHOLE_PACE)) if are_kept else (st.none() | paces, st.just(WHOLE_PACE))
    wave = st.builds(Wave, names, st.integers(0, WHOLE_SHARE), labels, listed, gate, pace, reached)
    return st.lists(wave, min_size=1, max_size=4, unique_by=lambda it: it.name).map(tuple)


def kept(fleet: str, number: int) -> st.SearchStrategy[tuple[Kept, ...]]:
    """Rollouts before an assignment that did not come to their end."""
    if number == 1:
        return st.just(())
    reached = st.none() | st.builds(Reached, names, places(1))
    one = st.builds(Kept, st.integers(1, number - 1), salts, bundles(fleet), waves(st.none(), are_kept=True), reached)
    ordered = st.lists(one, max_size=2, unique_by=lambda it: it.number)
    return ordered.map(lambda found: tuple(sorted(found, key=lambda it: -it.number)))


samples_wanted = st.builds(
    SamplesWanted, st.binary(min_size=32, max_size=32), st.integers(1, MILLION), st.integers(1, 86_400), st.integers(1, 262_144), labels
)


@st.composite
def assignments(draw: st.DrawFn) -> Assignment:
    """Sound assignments."""
    fleet, number = draw(names), draw(st.integers(1, MOST_NUMBER))
    delta = st.builds(Delta, digests, digests, digests.map(lambda it: f"{fleet}/{it[7:]}.delta"), st.integers(1, 1 << 32), content_keys)
    drawn = draw(waves(st.none() | gates))
    open_waves = draw(st.integers(0, len(drawn)))
    before = st.builds(Before, st.integers(1, number - 1), bundles(fleet)) if number > 1 else st.none()
    minutes = draw(st.lists(st.integers(0, 1439), min_size=2, max_size=2, unique=True))
    limit = st.none() | st.integers(1, 1_000_000)
    return Assignment(
        fleet,
        number,
        draw(salts),
        draw(bundles(fleet)),
        drawn,
        open_waves,
        tuple(draw(st.lists(delta, max_size=2, unique_by=lambda it: (it.from_, it.to)))),
        draw(st.none() | before),
        draw(st.builds(Probation, st.integers(0, 604_800), st.integers(0, 1000), limit, limit, limit)),
        draw(st.none() | st.builds(Window, st.just(minutes[0]), st.just(minutes[1]), st.integers(0, 86_400))),
        draw(st.booleans()),
        draw(kept(fleet, number)),
        tuple(draw(st.lists(times, min_size=open_waves, max_size=open_waves))),
        draw(st.none() | times) if open_waves == len(drawn) else None,
        draw(st.none() | samples_wanted),
        draw(st.none() | st.builds(Turns, budgets, places(len(drawn)), times)),
        draw(st.booleans()),
    )


routed = st.none() | st.builds(Routed, counts, counts, maybe, counts, counts, counts, counts, counts)
figures = st.builds(Figures, counts, counts, counts, counts, counts, counts, *[maybe] * 6, routed)
reports = st.builds(
    Report,
    device_names,
    st.integers(1, MOST_NUMBER),
    st.sampled_from(Outcome),
    st.just("") | st.from_regex(r"[0-9a-f]{15}[1-9a-f]", fullmatch=True),
    st.sampled_from(Reason),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100),
    figures,
)
devices = st.builds(Device, device_names, names, labels, st.integers(0, 2**31))


def _ordered(drawn: st.SearchStrategy[Device]) -> st.SearchStrategy[list[Device]]:
    return st.lists(drawn, max_size=5, unique_by=lambda it: it.name).map(lambda found: sorted(found, key=lambda it: it.name))


@st.composite
def _rosters(draw: st.DrawFn) -> Roster:
    pending = tuple(Pending(it, draw(digests)[7:], draw(counts)) for it in draw(_ordered(devices)))
    removed = draw(st.dictionaries(device_names, st.integers(0, 2**31), max_size=3))
    return Roster(draw(names), tuple(draw(_ordered(devices))), pending, removed)


rosters = _rosters()
