"""A fleet by what its devices have said in the store: nobody has to reach them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from isthmus.errors import IsthmusError
from isthmus.names import FLEET_REPOSITORY, edge_part
from isthmus.observing.parts import AVAILABLE, RUNNING, Block, Outputs, Part
from isthmus.observing.stack_state import StackState, read_stack
from isthmus.release.store import Store, StoreAddress
from isthmus.repository import roster
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.rollouts.intent import Fleet
from isthmus.rollouts.looking import observed
from isthmus.rollouts.standing import Standing, WaveStanding
from isthmus_agent.formats import digests

_STATES: Final = {"passed": AVAILABLE, "open": RUNNING, "waiting": RUNNING, "closed": RUNNING}
"""What a wave's state means for who asks whether all is well."""


def facts(outputs: Outputs) -> tuple[tuple[str, str], ...]:
    """What the last update found of a fleet's waves."""
    waves = [f"{it['name']}: {it['outcome']}, {int(it['confirmed'])} confirmed" for it in outputs.get("waves") or []]
    number = [("number", str(int(outputs["number"])))] if outputs.get("number") else []
    return (*number, *(("waves" if not index else "", wave) for index, wave in enumerate(waves)))


def block(name: str, state: StackState) -> Block:
    """A row for each wave. Raises IsthmusError where the store, or what it takes to read it, is not here."""
    found = observed(fleet_of(name, state))
    if found is None:
        return Block(f"edge · {name}", problem="its devices were told nothing yet")
    return Block(f"edge · {name}", tuple(_facts(found)), tuple(_part(found, it) for it in found.waves))


def fleet_of(name: str, state: StackState) -> Fleet:
    """A stack's fleet in its store, with its secret where that is here. Raises IsthmusError where the stack has none."""
    # Credentials in the store are secrets of the state.
    known = read_stack(state.name, show_secrets=True).resources.get(FLEET_REPOSITORY, {})
    place = next((known[it] for it in (f"{name}-repository", f"{edge_part(name)}-repository") if it in known), None)
    if place is None:
        raise IsthmusError(f"the stack has no repository of fleet {name}. Fix: pulumi up")
    return _fleet(place)


def _fleet(place: Mapping[str, Any]) -> Fleet:
    keyring, fleet = Keyring.load(Path(place["keys"])), str(place["fleet"])
    secret, _ = roster.secret_at_hand(fleet, keyring.folder)
    store = Store(StoreAddress.from_inputs(place["store"]), str(place["bucket"]))
    return Fleet(Place(store, str(place["prefix"])), keyring, fleet, secret)


def _facts(found: Standing) -> Iterator[tuple[str, str]]:
    yield "number", str(found.number)
    yield "devices", f"{found.devices}; isthmus fleet status has more of what they say"
    if not found.is_read:
        yield "reports", "cannot be read here: the fleet's secret is not in the key ring's folder"
    for index, (content, count) in enumerate(found.versions.items()):
        yield "" if index else "versions", f"{digests.shown(content)} on {count}"


def _part(found: Standing, wave: WaveStanding) -> Part:
    confirmed = f"{len(wave.tally.confirmed)} of " if wave.tally else ""
    reason = f": {wave.verdict.reason}" if wave.verdict and wave.state not in _STATES else ""
    return Part(
        "wave",
        wave.name,
        f"{confirmed}{len(wave.devices)} devices",
        _STATES.get(wave.state, f"{wave.state}{reason}"),
        found.contents[0].digest,
    )
