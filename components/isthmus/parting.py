"""From a release with halves to what is signed of them, and what the preview says."""

from collections.abc import Mapping
from typing import Any

from isthmus.release.manifest import Release
from isthmus.words import in_bytes, plain
from isthmus_agent.formats.halves import Halves, Way, from_figures


def signed_halves(release: Release) -> str | None:
    """The document for the release's bundles; None where it has no halves."""
    found = _halves(release)
    return None if found is None else found.to_json().decode()


def explained_ways(release: Release) -> str:
    """The ways that devices choose from."""
    found = _halves(release)
    if found is None:
        return "the network stays whole: no cut, and not the cloud, is faster than the device at any bandwidth"
    lines = [_explained(it) for it in found.ways]
    whole = plain(found.whole_microseconds / 1000)
    return "\n".join([f"the network may be split, by the bandwidth that a device measures; in one piece it took {whole} ms here", *lines])


def shown_ways(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For the component's output `plan`. figures: a record's."""
    return [
        {
            "layers": _layers(it),
            "sent_bytes": it.sent_bytes,
            "head_ms": it.head_microseconds / 1000,
            "cloud_ms": it.cloud_microseconds / 1000,
        }
        for it in from_figures(figures, "").ways
    ]


def _halves(release: Release) -> Halves | None:
    return None if release.record.halves is None else from_figures(release.record.halves, release.digest)


def _explained(way: Way) -> str:
    place = f"behind layer {_layers(way)}" if way.head else "all in the cloud"
    times = f"{plain(way.head_microseconds / 1000)} ms of a device, {plain(way.cloud_microseconds / 1000)} ms of a server, as measured here"
    return f"  {place}: {in_bytes(way.sent_bytes)} are sent; {times}"


def _layers(way: Way) -> int:
    return int(way.head.rpartition("_")[2]) if way.head else 0
