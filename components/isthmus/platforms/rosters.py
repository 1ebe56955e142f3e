"""The devices of a fleet that runs elsewhere, as far as a preview can know them."""

from pathlib import Path

from isthmus.arguments.components import EdgeSettings
from isthmus.errors import IsthmusError
from isthmus.platforms.publishing import key_prefix
from isthmus.release.store import Store, StoreAddress
from isthmus.repository import roster
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
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
        place = Place(Store(StoreAddress.from_inputs(address), settings.bucket), key_prefix(settings, fleet))
        return roster.read(place, Keyring.load(Path(settings.keys)), fleet).devices
    except IsthmusError:
        return ()
