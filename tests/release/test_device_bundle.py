"""A release makes one object for devices, the same every time, and small deltas between two."""

import hashlib
import io

import pytest

from isthmus.errors import IntegrityError
from isthmus.release import deltas, device_bundle
from isthmus.release.manifest import Manifest
from isthmus_agent.formats import bundle, delta


def test_a_bundle_holds_what_the_release_holds(make_release):
    release = make_release(model=b"weights", golden=b'{"inputs": {}}')
    plain = device_bundle.plain(release, {"p95_ms": 2.5})
    assert plain == device_bundle.plain(release, {"p95_ms": 2.5})
    read = {name: bundle.read(io.BytesIO(plain), name) for name in bundle.MOST_BYTES}
    assert (read["model"], read["golden"], read["gates"]) == (b"weights", b'{"inputs": {}}', b'{"p95_ms":2.5}')
    assert Manifest.from_bytes(read["manifest"]) == release.manifest


def test_a_packed_bundle_and_a_delta_make_the_same_bytes(make_release):
    old, new = (device_bundle.plain(make_release(model=model), {}) for model in (b"the first model" * 50, b"the other model" * 50))
    digest = f"sha256:{hashlib.sha256(new).hexdigest()}"
    unpacked, updated = io.BytesIO(), io.BytesIO()
    bundle.unpack(io.BytesIO(deltas.make(b"", new)), unpacked, digest=digest)
    patch = io.BytesIO(deltas.make(old, new))
    delta.apply(io.BytesIO(old), patch, updated, digest=digest, most_bytes=bundle.MOST_PLAIN_BYTES)
    assert unpacked.getvalue() == updated.getvalue() == new


def test_a_file_that_is_not_what_the_manifest_names_is_refused(make_release):
    release = make_release()
    (release.directory / "edge" / "model.tflite").write_bytes(b"an edge modem")
    with pytest.raises(IntegrityError, match=r"edge/model\.tflite is not what the manifest names"):
        device_bundle.plain(release, {})


def test_gate_values_that_are_too_many_are_refused(make_release):
    with pytest.raises(IntegrityError, match="gates is 70"):
        device_bundle.plain(make_release(), {"notes": "x" * 70_000})
