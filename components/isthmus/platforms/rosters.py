"""What a preview can know of a fleet by reading what is signed: its devices, and what they will fetch."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus.arguments.components import EdgeSettings
from isthmus.errors import IsthmusError
from isthmus.platforms.publishing import key_prefix
from isthmus.release.cache import default_cache_directory
from isthmus.release.manifest import Release
from isthmus.release.store import Store, StoreAddress
from isthmus.repository import roster
from isthmus.repository.counts import Counted, Kept, counted
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.sizing.rollout import Download
from isthmus_agent.formats.roster import Device


def signed_roster(settings: EdgeSettings, fleet: str) -> tuple[Device, ...]:
    """Those of the roster in force. Empty where it cannot be read yet, or not here: a preview says less then, and nothing fails.

    It cannot where the store's address or keys are outputs of other resources, or no repository is there before the first update.
    """
    store = settings.store
    if store is None or settings.keys is None:
        return ()
    address = {name: getattr(store, name) for name in ("endpoint", "region", "access_key", "secret_key")}
    if not all(isinstance(value, str) for value in address.values()):
        return ()
    try:
        place = Place(Store(StoreAddress.from_inputs(address), settings.bucket, is_brief=True), key_prefix(settings, fleet))
        return roster.read(place, Keyring.load(Path(settings.keys)), fleet).devices
    except IsthmusError:
        return ()


def told_counts(fleet: str, place: Mapping[str, Any] | None) -> tuple[Counted | None, str]:
    """What the fleet's devices have told of their network and load; else None, and why not, in a few words. Never raises IsthmusError.

    Args:
        place: inputs of the fleet's resources; None: they are not all known yet.
    """
    if place is None:
        return None, "the store is not known yet"
    try:
        store = Store(StoreAddress.from_inputs(place["store"]), place["bucket"], is_brief=True)
        where, keyring = Place(store, place["prefix"]), Keyring.load(Path(place["keys"]))
        secret = roster.fleet_secret(roster.secret_uri(fleet), keyring.folder)
        kept = Kept(default_cache_directory() / "counts" / fleet)
        return counted(where, roster.read(where, keyring, fleet), secret, kept), ""
    except IsthmusError as error:
        return None, str(error).splitlines()[0]


def downloads(
    fleet: str,
    place: Mapping[str, Any] | None,
    releases: Mapping[str, Release],
    *,
    encrypt: bool = False,
    gate_values: Mapping[str, Mapping[str, Any]] | None = None,
) -> Mapping[str, Download]:
    """What one device of each class will fetch; without deltas where nothing is there yet, or cannot be read, as for `signed_roster`.

    Raises IntegrityError where a release is damaged.

    Args:
        place: inputs of the fleet's resources; None: they are not all known yet.
        releases: by class of devices.
        encrypt: whether contents will be sealed.
        gate_values: as for `foreseen_downloads`.
    """
    # A program that has no fleet does without these and what they bring.
    from isthmus.release.kept_deltas import KeptDeltas
    from isthmus.rollouts.foreseeing import foreseen_downloads
    from isthmus.rollouts.intent import Fleet

    its = None
    with suppress(IsthmusError):
        if place is not None:
            store = Store(StoreAddress.from_inputs(place["store"]), place["bucket"], is_brief=True)
            its = Fleet(Place(store, place["prefix"]), Keyring.load(Path(place["keys"])), fleet)
            its = replace(its, secret=roster.fleet_secret(roster.secret_uri(fleet), its.keyring.folder))
    make = KeptDeltas.beside(default_cache_directory()).make
    return foreseen_downloads(fleet, releases, its, make=make, encrypt=encrypt, gate_values=gate_values)
