"""One page about a migration policy: what it is made of, where requests run in every state, what it gains, and a simulated week."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from isthmus.migration.costs import JOULES, MONEY, REQUESTS, WAITED_MS, WRONG
from isthmus.migration.simulate import WEEK_SECONDS, Estimate
from isthmus.migration.situation import Link, Place, Situation
from isthmus.migration.study import Study, same_rows
from isthmus.pages.rendering import style, template
from isthmus.words import duration, in_bytes, percent, plain
from isthmus_agent.formats.policy import PEER, THEN_CLOUD

_TEMPLATE: Final = "policy.html.j2"
COLOURS: Final = 6
"""Places beyond so many share their colours; every cell says its place in words."""
_NETWORK, _LOAD = 0, 1


@dataclass(frozen=True)
class Cell:
    """Of a map. place: the number of the place to be in. cost: of a request there, in ms. about: all of it, in words."""

    place: int
    name: str
    cost: float
    about: str


@dataclass(frozen=True)
class HeatMap:
    """Where requests run next. places: where they run now; it is the same for all of these. rows: a level of the network and its cells."""

    places: tuple[str, ...]
    headroom: str
    loads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]

    @property
    def title(self) -> str:
        """Such as `now on device or cloud · headroom cool`."""
        now = f"now on {' or '.join(self.places)}"
        return f"{now} · headroom {self.headroom}" if self.headroom else now


def heat_maps(found: Study) -> Sequence[HeatMap]:
    """One for each place where requests run now and each level of head-room; places from which it is all the same share theirs."""
    process = found.built.process
    networks, loads = (process.dimensions[it].levels for it in (_NETWORK, _LOAD))
    rooms = process.dimensions[2].levels if len(process.dimensions) > 2 else ("",)
    return [
        HeatMap(
            places,
            room,
            loads,
            tuple(
                (network, tuple(_cell(found, row, (at, load, level)) for load in range(len(loads)))) for at, network in enumerate(networks)
            ),
        )
        for places, row in same_rows(found).items()
        for level, room in enumerate(rooms)
    ]


def _cell(found: Study, row: Sequence[int], levels: tuple[int, int, int]) -> Cell:
    process = found.built.process
    cell = process.cell(*levels[: len(process.dimensions)])
    place = row[cell]
    requests = float(found.built.figures[REQUESTS][place, cell]) or 1.0
    costs = [
        f"{name} {plain(float(process.serving_cost[index, cell]) / requests)} ms"
        if process.allowed[index, cell]
        else f"{name} is not allowed"
        for index, name in enumerate(process.places)
    ]
    name = process.places[place]
    return Cell(place, name, float(process.serving_cost[place, cell]) / requests, f"{process.cell_name(cell)}: {name} ({'; '.join(costs)})")


def gains(found: Study) -> Iterator[tuple[str, str, str]]:
    """Rival, what a request costs with it, what the policy saves of that. The policy itself first, and the best without a margin."""
    yield "this policy", f"{plain(found.cost)} ms", ""
    if found.chosen.margin:
        dearer = found.cost / found.best_cost - 1 if found.best_cost else 0.0
        yield "without its margin", f"{plain(found.best_cost)} ms", f"the margin costs {100 * max(dearer, 0.0):.2f} %"
    for name, cost in found.rivals.items():
        yield name, f"{plain(cost)} ms", f"{100 * found.gain(name):.2f} %" if cost else ""


def period(found: Study) -> str:
    """How long the simulated week is: a week, but for steps of a few seconds."""
    return "week" if found.week.seconds >= WEEK_SECONDS else duration(found.week.seconds)


def week_lines(found: Study) -> Iterator[tuple[str, str]]:
    """The simulated week: what, and how much, with 95 % of chance's means."""
    exact = dict(zip(found.built.process.places, found.long_run.places, strict=True))
    for name, share in found.week.shares.items():
        yield f"on {name}", f"{_percent(share)} of the time; in the long run {100 * float(exact[name]):.2f} %"
    yield "moves", _with(found.week.moves)
    sums = found.week.sums
    yield "requests", _with(sums[REQUESTS])
    yield "deadlines missed", f"{_percent(found.missed_share)} of them"
    if sums[REQUESTS].mean:
        yield "waiting", f"{plain(sums[WAITED_MS].mean / sums[REQUESTS].mean)} ms a request"
        if WRONG in sums:
            yield "wrong answers", f"{100 * sums[WRONG].mean / sums[REQUESTS].mean:.2f} % of the requests"
    yield "battery", f"{_with(sums[JOULES])} J"
    yield "money", _with(sums[MONEY])


def _with(it: Estimate) -> str:
    return f"{plain(it.mean)} ± {plain(it.plus_minus)}"


def _percent(it: Estimate) -> str:
    return f"{100 * it.mean:.2f} ± {100 * it.plus_minus:.2f} %"


def short(place: str) -> str:
    """A place's name where room is scarce: a class of peers by its class."""
    return "unsure" if place == THEN_CLOUD else place.removeprefix(PEER)


def figures(situation: Situation) -> Iterator[tuple[str, str]]:
    """What the policy was made from, in words."""
    worth = situation.worth
    yield "step", f"{duration(situation.step_seconds)}; the next one counts {situation.discount:g} of this one"
    yield "deadline", f"{plain(situation.deadline_ms)} ms; one missed is worth {plain(worth.deadline_miss_ms)} ms of waiting"
    priced = f", a wrong answer {plain(worth.wrong_answer_ms)} ms" if worth.wrong_answer_ms else ""
    yield "worth", f"a joule {plain(worth.joule_ms)} ms, a unit of money {plain(worth.money_ms)} ms{priced}"
    yield "a request", f"{in_bytes(situation.request_bytes)}, its answer {in_bytes(situation.answer_bytes)}"
    yield "data", situation.privacy.replace("_", " ")
    for name, place in situation.places.items():
        wrong = f"; {percent(place.error_rate)} wrong" if worth.wrong_answer_ms else ""
        then = situation.then_cloud
        yield name, f"{percent(then.unsure_share)} passed on{wrong}" if then and name == THEN_CLOUD else f"{_place(place)}{wrong}"
    for level, link in zip(situation.network_axis.dimension.levels, situation.network, strict=True):
        yield f"network {level}", _link(link) if link else "cut"
    for level, rate in zip(situation.load_axis.dimension.levels, situation.load, strict=True):
        yield f"load {level}", f"{plain(rate)} requests per second"
    if axis := situation.headroom_axis:
        for level, room in zip(axis.dimension.levels, situation.headroom, strict=True):
            yield f"headroom {level}", f"{room.slowdown:g} × the time, {room.joules_factor:g} × the joules"


def _place(place: Place) -> str:
    parts = [f"{plain(place.service_ms)} ms, p95 {plain(place.p95_ms)} ms"]
    for value, text in (
        (place.joules, f"{plain(place.joules)} J a request"),
        (place.price, f"{place.price:g} a request"),
        (place.warm_up_ms, f"warm after {plain(place.warm_up_ms)} ms"),
        (place.model_bytes, f"{in_bytes(place.model_bytes)} to bring"),
    ):
        if value:
            parts.append(text)
    return "; ".join([*parts, *([f"link: {_link(place.link)}"] if place.link else [])])


def _link(link: Link) -> str:
    price = f", {link.price_per_megabyte:g} a MB" if link.price_per_megabyte else ""
    return f"{plain(link.rtt_ms)} ms, {plain(link.megabits_per_second)} Mbit/s, {plain(link.loss_percent)} % lost{price}"


def html(name: str, studies: Mapping[str, Study]) -> str:
    """The page, complete. Raises PlatformError where the template engine is not installed."""
    css = style() + Path(__file__).with_name("policy.css").read_text(encoding="utf-8")
    shown = [_shown(device_class, it) for device_class, it in studies.items()]
    return template("isthmus.pages", _TEMPLATE).render(name=name, css=css, studies=shown, colours=COLOURS)


def _shown(device_class: str, found: Study) -> dict[str, Any]:
    process = found.built.process
    places, cells = process.shape
    maps = heat_maps(found)
    most = max((cell.cost for it in maps for _, row in it.rows for cell in row), default=0.0) or 1.0
    never = found.rivals.get("never", found.cost)
    return {
        "title": "all devices" if device_class == "*" else f"class {device_class}",
        "places": [*enumerate(process.places)],
        "states": f"{places * cells:,}",
        "size": f"{places} places × {cells} cells",
        "cost": plain(found.cost),
        "saved": f"{100 * (1 - found.cost / never):.1f}" if never else "0",
        "missed": f"{100 * found.missed_share.mean:.2f}",
        "moves": f"{found.week.moves.mean:,.0f}",
        "runs": found.week.runs,
        "period": period(found),
        "certain": f"{found.best.misses / found.requests:.1g}",
        "maps": maps,
        "short": short,
        "heat": lambda cost: round(100 * cost / most),
        "gains": [*gains(found)],
        "week": [*week_lines(found)],
        "figures": [*figures(found.built.situation)],
        "axes": [*_axes(found)],
    }


def _axes(found: Study) -> Iterator[tuple[str, Sequence[str], Sequence[tuple[str, Sequence[str]]]]]:
    """Each dimension's matrix of one step, as it reads."""
    for axis in found.built.situation.axes:
        levels = axis.dimension.levels
        yield (
            axis.dimension.name,
            levels,
            [(level, [f"{it:.4f}" for it in row]) for level, row in zip(levels, axis.transition, strict=True)],
        )
