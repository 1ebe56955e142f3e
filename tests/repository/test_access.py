"""What a device's credentials let it do: tried on a real store, and as policies for AWS."""

import json
import uuid
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest
from toolchain.testing import patience

from isthmus.errors import InputError, StoreError
from isthmus.release.store import MissingObjectError, RefusedCredentialsError, Store, StoreAddress
from isthmus.repository.access import (
    Area,
    aws_policy,
    aws_policy_by_tag,
    derived_access,
    identity,
    identity_names,
    read_identities,
    with_identities,
)
from isthmus_agent.formats.report import Outcome, Report
from isthmus_agent.formats.roster import Device

SECRET = b"s" * 32
CAMERA, OTHER = Device("camera-1", "small", {"site": "a"}), Device("camera-11", "small")
SAMPLED = {"site": "a"}
"""Labels of the devices that may write samples."""


@pytest.fixture(scope="module")
def real(store_server: Any) -> Iterator[tuple[Store, Callable[[Device], Store]]]:
    """A bucket with a fleet's objects, and the store as a device reaches it."""
    admin = Store(store_server.address, f"bucket-{uuid.uuid4().hex[:12]}")
    admin.ensure_bucket()
    for key in ("metadata/timestamp.json", "targets/cameras/a.bundle", "targets/doors/a.bundle", "targets/roster/cameras.json"):
        admin.put(f"edge/{key}", b"content")
    for key in ("enrol/abc.sealed", "samples/cameras/camera-1~x"):
        admin.put(f"edge/{key}", b"secret")
    area = Area(admin.bucket, "edge/", "cameras")
    devices = [CAMERA, OTHER, Device("camera-1", "small", {}, 1)]
    document = with_identities(read_identities(store_server.identities), area, devices, SECRET, SAMPLED)
    store_server.identities.write_text(json.dumps(document))
    store_server.read_identities_again()

    def reached(device: Device) -> Store:
        access = derived_access(SECRET, "cameras", device)
        address = store_server.address
        return Store(StoreAddress(address.endpoint, address.region, access.access_key, access.secret_key), admin.bucket)

    deadline = patience.Deadline(30)
    while True:
        try:
            reached(OTHER).get("edge/metadata/timestamp.json", max_bytes=10)
            break
        except StoreError:
            assert not deadline.over(), "SeaweedFS does not read the identities again"
    yield admin, reached
    admin.delete_bucket()


def said(device: Device) -> str:
    return Report(device.name, 17, Outcome.CONFIRMED, "ab" * 8).object_key("edge/", "cameras", b"k" * 32)


@pytest.mark.parametrize("generation", [0, 1])
def test_a_device_reads_what_it_is_told_and_says_how_it_goes(real: Any, generation: int):
    admin, reached = real
    store = reached(Device("camera-1", "small", {}, generation))
    assert store.get("edge/metadata/timestamp.json", max_bytes=10) == b"content"
    assert store.get("edge/targets/cameras/a.bundle", max_bytes=10) == b"content"
    with pytest.raises(MissingObjectError):  # as the next root, at each update
        store.get("edge/metadata/2.root.json", max_bytes=10)
    assert store.put(said(CAMERA), b"")
    assert said(CAMERA) in admin.list("edge/health/17/")
    store.delete([said(CAMERA)])
    assert said(CAMERA) not in admin.list("edge/health/17/")


@pytest.mark.parametrize(
    "key",
    [
        *(said(OTHER), "edge/health/17/camera-11~x", "edge/health/17/camera~x", "edge/health/camera-1~x", "edge/health/17/x-camera-1~x"),
        *("edge/metadata/timestamp.json", "edge/metadata/9.cameras.json", "edge/targets/cameras/a.bundle", "edge/targets/cameras/b"),
        *("edge/samples/cameras/camera-11~x", "edge/samples/doors/camera-1~x", "edge/samples/cameras/x/camera-1~x"),
        *("edge/enrol/abc.claim", "other", "doors/health/17/camera-1~x", "edge/health/17/camera-1~x/../../../metadata/timestamp.json"),
    ],
)
def test_a_device_writes_and_deletes_nothing_else(real: Any, key: str):
    admin, reached = real
    admin.put(said(OTHER), b"")
    before = admin.list("")
    with pytest.raises(StoreError):
        reached(CAMERA).put(key, b"forged")
    if ".." not in key:
        with pytest.raises(StoreError):
            reached(CAMERA).delete([key])
    assert admin.list("") == before
    assert admin.get("edge/metadata/timestamp.json", max_bytes=10) == b"content"


def test_a_device_writes_its_own_samples_where_the_owner_has_said_so_and_no_other_does(real: Any):
    admin, reached = real
    assert reached(CAMERA).put("edge/samples/cameras/camera-1~y", b"sealed")
    assert admin.get("edge/samples/cameras/camera-1~y", max_bytes=10) == b"sealed"
    for device in (OTHER, Device("camera-1", "small", {}, 1)):
        with pytest.raises(StoreError):
            reached(device).put(f"edge/samples/cameras/{device.name}~y", b"forged")
    assert admin.get("edge/samples/cameras/camera-1~y", max_bytes=10) == b"sealed"


@pytest.mark.parametrize(
    "key",
    [
        "edge/samples/cameras/camera-1~x",
        "edge/enrol/abc.sealed",
        "edge/targets/roster/cameras.json",
        "edge/targets/doors/a.bundle",
        said(OTHER),
    ],
)
def test_a_device_reads_nothing_else(real: Any, key: str):
    _, reached = real
    with pytest.raises(RefusedCredentialsError):
        reached(CAMERA).get(key, max_bytes=10)


@pytest.mark.parametrize("prefix", ["", "edge/", "edge/health/", "edge/health/17/camera-1~", "edge/enrol/"])
def test_a_device_lists_nothing(real: Any, prefix: str):
    _, reached = real
    with pytest.raises(RefusedCredentialsError):
        reached(CAMERA).list(prefix)


def test_credentials_follow_from_secret_fleet_device_and_generation():
    every = {
        derived_access(secret, fleet, device)
        for secret in (SECRET, b"t" * 32)
        for fleet in ("cameras", "doors")
        for device in (CAMERA, OTHER, Device("camera-1", "small", {}, 1))
    }
    assert len({it.access_key for it in every}) == len({it.secret_key for it in every}) == 12
    assert {(len(it.access_key), len(it.secret_key)) for it in every} == {(20, 40)}
    assert "secret_key" not in repr(derived_access(SECRET, "cameras", CAMERA))


def test_identities_of_others_stay_and_those_of_devices_that_left_may_do_nothing():
    area, elsewhere = Area("bucket", "edge/", "cameras"), Area("bucket", "yard/", "cameras")
    admin = {"name": "admin", "actions": ["Admin"]}
    first = with_identities({"identities": [admin], "accounts": [1]}, area, [CAMERA, OTHER], SECRET)
    both = with_identities(first, elsewhere, [CAMERA], SECRET)
    left = with_identities(both, area, [OTHER], SECRET)
    assert left["accounts"] == [1]
    kept = identity(elsewhere, CAMERA, derived_access(SECRET, "cameras", CAMERA))
    # A SeaweedFS that runs forgets no identity that it has read.
    gone = {**identity(area, CAMERA, derived_access(SECRET, "cameras", CAMERA)), "actions": []}
    assert left["identities"] == [admin, gone, kept, identity(area, OTHER, derived_access(SECRET, "cameras", OTHER))]
    assert list(identity_names(left, area)) == [OTHER.name]
    assert len({it["name"] for it in both["identities"]}) == 4


def _allowed(policy: dict[str, Any], action: str, key: str, tag: str = "") -> bool:
    """As IAM matches; nothing in it denies."""
    return any(
        action in statement["Action"]
        and any(
            fnmatchcase(f"arn:aws:s3:::bucket/{key}", it.replace("${aws:PrincipalTag/isthmus-device}", tag)) for it in statement["Resource"]
        )
        for statement in policy["Statement"]
    )


@pytest.mark.parametrize("by_tag", [False, True])
@pytest.mark.parametrize("may_sample", [False, True])
def test_the_policies_for_aws_allow_the_same(by_tag: bool, may_sample: bool):
    area = Area("bucket", "edge/", "cameras")
    policy = aws_policy_by_tag(area, may_sample=may_sample) if by_tag else aws_policy(area, "camera-1", may_sample=may_sample)
    assert _allowed(policy, "s3:PutObject", "edge/samples/cameras/camera-1~x", "camera-1") is may_sample
    for action in ("s3:GetObject", "s3:DeleteObject"):
        assert not _allowed(policy, action, "edge/samples/cameras/camera-1~x", "camera-1")
    assert not _allowed(policy, "s3:PutObject", "edge/samples/cameras/camera-11~x", "camera-1")
    assert not _allowed(policy, "s3:PutObject", "edge/samples/doors/camera-1~x", "camera-1")
    assert json.loads(json.dumps(policy)) == policy
    assert _allowed(policy, "s3:GetObject", "edge/metadata/timestamp.json", "camera-1")
    assert _allowed(policy, "s3:GetObject", "edge/targets/cameras/a.bundle", "camera-1")
    assert _allowed(policy, "s3:PutObject", said(CAMERA), "camera-1")
    assert _allowed(policy, "s3:DeleteObject", said(CAMERA), "camera-1")
    for key in (said(OTHER), "edge/metadata/timestamp.json", "edge/targets/cameras/a.bundle", "edge/enrol/x.claim"):
        assert not _allowed(policy, "s3:PutObject", key, "camera-1")
    for key in (said(CAMERA), "edge/targets/roster/cameras.json", "edge/enrol/x.sealed"):
        assert not _allowed(policy, "s3:GetObject", key, "camera-1")
    assert {it for statement in policy["Statement"] for it in statement["Action"]} == {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"}


@pytest.mark.parametrize("prefix", ["*/", "a?/", "${aws:username}/", "é/"])
def test_a_prefix_that_a_policy_would_take_for_a_pattern_is_refused(prefix: str):
    with pytest.raises(InputError, match="cannot be named in a store's policies"):
        Area("bucket", prefix, "cameras")
