"""What devices will fetch of releases that are not published yet."""

from collections.abc import Mapping
from typing import Any

from isthmus.errors import IsthmusError
from isthmus.release.manifest import Release
from isthmus.rollouts.contents import Make, contents_of, deltas_to
from isthmus.rollouts.intent import Fleet
from isthmus.rollouts.looking import Signed, read_signed
from isthmus.sizing.rollout import Download
from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.contents import Variant, fitting
from isthmus_agent.formats.sealed_contents import KIND


def foreseen_downloads(
    name: str,
    releases: Mapping[str, Release],
    fleet: Fleet | None,
    *,
    make: Make,
    encrypt: bool = False,
    gate_values: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Download]:
    """What one device of each class will fetch, with the delta from what the fleet had before: it is made, as publishing will make it.

    Nothing is asked but what is signed: a release counts as the fleet's when its last wave has passed. Of the one that the fleet is told
    now it is said what devices fetched, so that a plan stays what it was while nothing changes. Where nothing signed can be read, no delta
    is known. Raises IntegrityError as `contents_of`.

    Args:
        name: the fleet's.
        releases: by class of devices, as for `contents_of`.
        fleet: None: it is not known yet where its repository is.
        make: as for `deltas_to`.
        encrypt: whether contents will be sealed. Their sizes are known without the key; deltas from sealed ones are not.
        gate_values: as for `contents_of`; None: there are none.
    """
    variants, files = contents_of(releases, name, gate_values or {}, make=make)
    more_bytes = KIND.more_bytes if encrypt else 0
    signed = _signed(fleet) if fleet else None
    if fleet is None or signed is None or signed.told is None:
        return {it.device_class: Download(it.bytes + more_bytes) for it in variants}
    sizes, found = {(it.from_, it.to): it.bytes for it in signed.told.deltas}, {}
    for it in variants:
        before = _before(signed.told, it)
        if before and (before.digest, it.digest) not in sizes:
            made, _ = deltas_to([it], files, [before], signed.targets, fleet.place, make=make, key=fleet.content_key)
            sizes |= {(delta.from_, delta.to): delta.bytes + more_bytes for delta in made}
        found[it.device_class] = Download(it.bytes + more_bytes, sizes.get((before.digest, it.digest)) if before else None)
    return found


def _signed(fleet: Fleet) -> Signed | None:
    try:
        return read_signed(fleet)
    except IsthmusError:
        return None


def _before(told: Assignment, wanted: Variant) -> Variant | None:
    """What devices of the variant's class had before it."""
    before = told.before.variants if told.before else ()
    now = fitting(told.variants, wanted.device_class)
    is_another = now is None or now.digest != wanted.digest
    return now if is_another and told.passed_seconds is not None else fitting(before, wanted.device_class)
