"""Moving a fleet of a former version over: one last document by its former key (`isthmus_agent.formats.former` says what it is)."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from securesystemslib.dsse import Envelope

from isthmus.errors import InputError, Problem
from isthmus.repository.keys import private_signer
from isthmus.repository.objects import Objects, Place
from isthmus_agent.formats import numbers
from isthmus_agent.formats.former import MOST_DEVICES, MOVED_NAME, MOVED_TYPE, Moved
from isthmus_agent.formats.numbers import FormatError

_REPORTS = "reports/"


def former_devices(objects: Objects, prefix: str) -> list[str]:
    """Devices of which the former version had a report below a prefix."""
    names = [key.removeprefix(f"{prefix}{_REPORTS}").removesuffix(".json") for key in objects.list(f"{prefix}{_REPORTS}")]
    return sorted(name for name in names if _is_name(name))


def publish_moved(place: Place, fleet: str, tokens: Mapping[str, str], former_key: str, folder: Path) -> str:
    """Puts the last document where former devices look for it; its key.

    former_key: of the private half, as `file:PATH` or `env:NAME`, relative to a folder. Raises InputError, KeyNotAtHandError.
    """
    if len(tokens) > MOST_DEVICES:
        raise InputError([Problem("device", f"are {len(tokens)}", f"{MOST_DEVICES} at most")])
    envelope = Envelope(Moved(fleet, tokens).to_json(), MOVED_TYPE, {})
    envelope.sign(private_signer(former_key, folder))
    key = moved_key(place)
    place.objects.put(key, numbers.dump(envelope.to_dict()))
    return key


def moved_key(place: Place) -> str:
    """Where the last document lies."""
    return f"{place.prefix}metadata/{MOVED_NAME}"


def device_names(devices: Iterable[str]) -> list[str]:
    """The names, each once and in order. Raises InputError where one is no device's name."""
    found = sorted(set(devices))
    if wrong := [name for name in found if not _is_name(name)]:
        raise InputError([Problem("device", f"{name!r}", "a device's name") for name in wrong])
    return found


def _is_name(name: str) -> bool:
    try:
        numbers.device_name(name, "")
    except FormatError:
        return False
    return True
