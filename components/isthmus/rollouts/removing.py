"""Removing what a fleet is told: when the stack that told it is destroyed."""

from isthmus.errors import InputError, Problem
from isthmus.repository.objects import ROOT, Place, folders
from isthmus.rollouts.intent import Fleet
from isthmus.rollouts.looking import read_signed


def remove(fleet: Fleet) -> int:
    """Removes a fleet's whole repository from the store, with its reports and tokens; how many objects that were.

    The key ring stays with its owner. Raises InputError where another fleet is told something by the same repository.
    """
    place = fleet.place
    if place.objects.tag(place.timestamp_key):
        others = sorted(set(read_signed(fleet).current.delegated) & set(fleet.keyring.fleets) - {fleet.name})
        if others:
            what = f"the repository below {place.prefix or 'the bucket'} is that of {', '.join(others)} too"
            raise InputError([Problem(f"fleet {fleet.name}", what, "a repository of its own", "keep it, or remove those fleets first")])
    return remove_all(place)


def remove_all(place: Place) -> int:
    """As `remove`, whoever else may be told something there: for who has no key ring to see that by.

    Devices keep what they serve, and find nothing more. What else lies in the bucket stays as it is. What is in force goes first and the
    root last, so that one that is broken off can be done again.
    """
    keys = [key for folder in folders(place.prefix) for key in place.objects.list(folder)]
    first = [place.timestamp_key] if place.timestamp_key in keys else []
    roots = [key for key in keys if (place.role_and_version(key) or ("", 0))[0] == ROOT]
    rest = [key for key in keys if key not in {*first, *roots}]
    for group in (first, rest, roots):
        place.objects.delete(group)
    return len(keys)
