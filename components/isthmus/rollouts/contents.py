"""Contents as a fleet gets them: bundles of releases, and deltas from what is really on its devices."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tuf.api.metadata import TargetFile

from isthmus.digest import Digest
from isthmus.errors import IntegrityError, StoreError
from isthmus.release import deltas, device_bundle
from isthmus.release.manifest import Release
from isthmus.repository.objects import Place
from isthmus_agent.formats import bundle, digests, sealed_contents
from isthmus_agent.formats.contents import ANY_CLASS, BUNDLE_ENDING, DELTA_ENDING, Delta, Variant
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.sealed_contents import ClosedError

MOST_OLD_CONTENTS: Final = 4
"""That deltas are made from, for each new one: the most frequent on the fleet."""
_DIGITS: Final = 32

Make = Callable[[bytes, bytes], bytes]
"""Makes a delta of two plain contents: `deltas.make`, or one that knows those that were made before."""


@dataclass(frozen=True)
class Content:
    """A release for a class of devices: what is signed of it, and the file that is put into the repository."""

    variant: Variant
    file: bytes


def content_of(
    release: Release,
    fleet: str,
    gate_values: Mapping[str, Any],
    device_class: str = ANY_CLASS,
    *,
    make: Make = deltas.make,
    key: bytes | None = None,
) -> Content:
    """A release's edge variant as a fleet gets it. gate_values: as for `device_bundle.plain`. key: that it is sealed with; None: it is
    plain. Raises IntegrityError."""
    plain = device_bundle.plain(release, gate_values)
    digest, (file, name, ending) = Digest.of(plain), _stored(make(b"", plain), key)
    return Content(Variant(device_class, digest, f"{fleet}/{digest.hex}{ending}{BUNDLE_ENDING}", len(file), name), file)


def contents_of(
    releases: Mapping[str, Release],
    fleet: str,
    gate_values: Mapping[str, Mapping[str, Any]],
    *,
    make: Make = deltas.make,
    key: bytes | None = None,
) -> tuple[tuple[Variant, ...], Mapping[str, bytes]]:
    """Variants by class of devices, the first that fits a device for it, and their files by target path: for an `Intent`. gate_values: by
    class, where there are any."""
    found = [content_of(release, fleet, gate_values.get(name, {}), name, make=make, key=key) for name, release in releases.items()]
    return tuple(it.variant for it in found), {it.variant.bundle: it.file for it in found}


def deltas_to(
    new: Sequence[Variant],
    files: Mapping[str, bytes | Path],
    old: Sequence[Variant],
    targets: Mapping[str, TargetFile],
    place: Place,
    *,
    make: Make = deltas.make,
    key: bytes | None = None,
) -> tuple[tuple[Delta, ...], Mapping[str, bytes]]:
    """Deltas where they are smaller than the bundle, and their files by target path.

    old: what is on the fleet, the most frequent first; its bundles are the repository's own. targets: of the fleet's role. key: of sealed
    contents. What cannot be read there is passed over: a device without a delta fetches the whole bundle.
    """
    made: dict[tuple[str, str], tuple[Delta, bytes]] = {}
    plains: dict[str, bytes | None] = {}
    for variant in new:
        if variant.bundle not in files:
            continue
        after = _unpacked(_read(files[variant.bundle]), variant, key)
        for before in list(_starts(variant, old))[:MOST_OLD_CONTENTS]:
            if before.digest not in plains:
                plains[before.digest] = _plain_in(place, targets.get(before.bundle), before, key)
            plain = plains[before.digest]
            if plain is None or after is None or (before.digest, variant.digest) in made:
                continue
            file, name, ending = _stored(make(plain, after), key if variant.key else None)
            if len(file) < variant.bytes:
                path = _path(variant, before.digest, ending)
                made[before.digest, variant.digest] = Delta(before.digest, variant.digest, path, len(file), name), file
    return tuple(delta for delta, _ in made.values()), {delta.path: file for delta, file in made.values()}


def _starts(variant: Variant, old: Sequence[Variant]) -> Iterator[Variant]:
    """Contents from which devices of the variant's class may come, each once."""
    seen = {variant.digest}
    for before in old:
        if before.digest not in seen and (ANY_CLASS in (variant.device_class, before.device_class) or before.fits(variant.device_class)):
            seen.add(before.digest)
            yield before


def _stored(file: bytes, key: bytes | None) -> tuple[bytes, str | None, str]:
    """A file as it lies in the store, the name of its key, and what its name has of that: so that nobody takes one for another."""
    if key is None:
        return file, None, ""
    name = sealed_contents.key_name(key)
    return sealed_contents.sealed(key, file), name, f"-{name}"


def _plain_in(place: Place, target: TargetFile | None, variant: Variant, key: bytes | None) -> bytes | None:
    if target is None:
        return None
    sha256 = target.hashes["sha256"]
    try:
        packed = place.objects.get(place.target_key(target.path, sha256), max_bytes=target.length)
    except (StoreError, IntegrityError):
        return None
    return _unpacked(packed, variant, key) if hashlib.sha256(packed).hexdigest() == sha256 else None


def _unpacked(packed: bytes, variant: Variant, key: bytes | None) -> bytes | None:
    plain = io.BytesIO()
    try:
        bundle.unpack(sealed_contents.opened(io.BytesIO(packed), variant.key, key), plain, digest=variant.digest)
    except (ClosedError, FormatError):
        return None
    return plain.getvalue()


def _read(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _path(variant: Variant, before: str, ending: str) -> str:
    folder = variant.bundle.partition("/")[0]
    start, end = (digests.digits_of(it)[:_DIGITS] for it in (before, variant.digest))
    return f"{folder}/{start}-{end}{ending}{DELTA_ENDING}"
