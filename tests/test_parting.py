"""What is signed of a release's halves, and what the preview says of them."""

from pathlib import Path

from isthmus.parting import explained_ways, shown_ways, signed_halves
from isthmus.release.manifest import FileEntry, Manifest, Record, Release
from isthmus_agent.formats.halves import Halves, Tensor, Way, from_json

FEATURE, PICTURE = Tensor("feature_0", "float32", (1, 4), 0x3C000000, 7), Tensor("x", "float32", (1, 8))
WAYS = (Way(None, "tail_0_aa", (PICTURE,), True, 2, 3000, 30), Way("head_3", "tail_3_bb", (FEATURE,), False, 1500, 250, 4))


def _release(halves: Halves | None) -> Release:
    manifest = Manifest("digits", 1, "int8", "serving_default", (), (), (), FileEntry("golden.json", 0, "0" * 64), 0.0, None, 0, ())
    return Release(Path(), manifest, Record("", "", None, None, halves=halves.figures() if halves else None))


def test_what_is_signed_is_read_for_that_release_alone_and_through_the_record() -> None:
    release = _release(Halves("", 4000, 50_000, WAYS))
    kept = Release(Path(), release.manifest, Record.from_bytes(release.record.to_bytes()))
    text = signed_halves(kept)
    assert text is not None
    assert from_json(text.encode(), release.digest) == Halves(release.digest, 4000, 50_000, WAYS)


def test_the_preview_tells_each_way_with_its_bytes_and_times() -> None:
    said = explained_ways(_release(Halves("", 4000, 50_000, WAYS))).splitlines()
    assert "in one piece it took 4 ms here" in said[0]
    assert said[1].startswith("  all in the cloud: 30 bytes are sent; 0.002 ms of a device, 3 ms of a server")
    assert said[2].startswith("  behind layer 3: 4 bytes are sent")
    figures = Halves("", 4000, 50_000, WAYS).figures()
    assert [it["layers"] for it in shown_ways(figures)] == [0, 3]


def test_a_release_that_stays_whole_has_nothing_to_sign_and_the_preview_says_so() -> None:
    assert signed_halves(_release(None)) is None
    assert "stays whole" in explained_ways(_release(None))


def test_a_record_of_an_earlier_version_has_no_halves() -> None:
    content = _release(None).record.to_bytes().replace(b'"halves":null,', b"")
    assert Record.from_bytes(content).halves is None
