"""Bringing releases to a fleet."""

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi import Input, Output, ResourceOptions

from isthmus.resources.base import Resource, this_stack


class FleetRepository(Resource):
    """A fleet's signed repository (TUF) in a bucket: what its devices are told, who they are, and what they say.

    store: `endpoint` (URL), `region`, `access_key`, `secret_key`. prefix: of all its keys; ends with `/`, and is this stack's alone.
    keys: the folder of the key ring. Private keys stay where its URIs say that they are, and never come into the state. make_keys: makes
    a key ring that is not there; for a store of the stack's own. An update signs anew what expires soon, with the keys that are here.
    Delete removes all that is below the prefix; devices keep what they have.
    Outputs: `root_sha256` (of the root metadata that devices are enrolled with), `sign_again_at` (ISO 8601).
    """

    root_sha256: Output[str]
    sign_again_at: Output[str]

    def __init__(
        self,
        name: str,
        *,
        store: Input[Mapping[str, Any]],
        bucket: Input[str],
        prefix: Input[str],
        fleet: Input[str],
        keys: Input[str],
        make_keys: Input[bool] = False,
        check_at_preview: Input[bool] = False,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "store": store,
            "bucket": bucket,
            "prefix": prefix,
            "fleet": fleet,
            "keys": keys,
            "make_keys": make_keys,
            "check_at_preview": check_at_preview,
            "owner": this_stack(),
        }
        super().__init__(name, inputs, ["root_sha256", "sign_again_at"], opts)


class LocalDevices(Resource):
    """Devices of a fleet that run on this machine: each is enrolled with a token of its own, as any other device is.

    devices: `name`, `class`, `labels` each. directory: gets a folder for each, which has its keys and later its models. The devices
    reach the store by identities that are written for them (identities: `supervisor` and `program` of a store of the stack's own), or by
    credentials that are given (access: `access_key`, `secret_key`). A device that leaves the list leaves the roster. samples: `labels` of
    those that may write samples of what they are asked.
    Outputs: `folders` (device → folder), `marks` (device → another text whenever it was enrolled anew).
    """

    folders: Output[dict[str, str]]
    marks: Output[dict[str, str]]

    def __init__(
        self,
        name: str,
        *,
        store: Input[Mapping[str, Any]],
        bucket: Input[str],
        prefix: Input[str],
        fleet: Input[str],
        keys: Input[str],
        directory: Input[str],
        devices: Input[Sequence[Input[Mapping[str, Any]]]],
        identities: Input[Mapping[str, Any]] | None = None,
        samples: Input[Mapping[str, Any]] | None = None,
        access: Input[Mapping[str, Any]] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "store": store,
            "bucket": bucket,
            "prefix": prefix,
            "fleet": fleet,
            "keys": keys,
            "directory": directory,
            "devices": devices,
            "identities": identities,
            "samples": samples,
            "access": access,
        }
        super().__init__(name, inputs, ["folders", "marks"], opts)


class FleetWave(Resource):
    """A release on a wave of a fleet and on those before it, each opened when the gate of the one before it has passed.

    releases: digest by class; `*`: of every other. waves: all of the rollout, as `isthmus.fleet.waves.Wave` with a `gate` each; wave: the
    index of this one. encrypt: bundles and deltas are sealed with the fleet's content key. min_confidence: by class, what bundles say that
    is sure enough, for devices that go by it. policies: by class, the migration policy in its bundles. groups: by class, what its devices
    answer together by. halves: by class, the ways to split the network. With `wait` an update ends when the gate has passed, and fails with
    the evidence where it aborts or pauses; else with what stands, and the next update goes on. An update that was interrupted goes on where
    it was. A release that was aborted begins at the first wave again.
    cloud_versions: of a `ServedVersions` with the same release, `digest`, `directory`, `supervisor`, `program`, `model_name`: an abort
    takes it back there as well. cloud_split: of a `CanaryGate` with the same release (`namespace`, `service`, `owner`, `digest`,
    `context`, `kubeconfig`): the same, and while the canary was rolled back no wave is opened.
    Outputs: `name`, `number`, `outcome`, `confirmed` (how many devices of the wave), `contents` (digest of what
    devices keep, by class).
    """

    name: Output[str]
    number: Output[int]
    outcome: Output[str]
    confirmed: Output[int]
    contents: Output[dict[str, str]]

    def __init__(
        self,
        name: str,
        *,
        store: Input[Mapping[str, Any]],
        bucket: Input[str],
        prefix: Input[str],
        fleet: Input[str],
        keys: Input[str],
        releases: Input[Mapping[str, Input[str]]],
        cache_directory: Input[str],
        waves: Input[Sequence[Input[Mapping[str, Any]]]],
        wave: Input[int],
        probation: Input[Mapping[str, Any]] | None = None,
        window: Input[Mapping[str, Any]] | None = None,
        encrypt: Input[bool] = False,
        samples: Input[Mapping[str, Any]] | None = None,
        budget: Input[Mapping[str, Any]] | None = None,
        min_confidence: Input[Mapping[str, float]] | None = None,
        policies: Input[Mapping[str, str]] | None = None,
        counts: Input[bool] | None = None,
        groups: Input[Mapping[str, Mapping[str, Any]]] | None = None,
        cloud_versions: Input[Mapping[str, Any]] | None = None,
        cloud_split: Input[Mapping[str, Any]] | None = None,
        halves: Input[Mapping[str, str]] | None = None,
        wait: Input[bool] = True,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "store": store,
            "bucket": bucket,
            "prefix": prefix,
            "fleet": fleet,
            "keys": keys,
            "releases": releases,
            "cache_directory": cache_directory,
            "waves": waves,
            "wave": wave,
            "probation": probation or {},
            "window": window,
            "encrypt": encrypt,
            "samples": samples,
            "budget": budget,
            "min_confidence": min_confidence,
            "policies": policies,
            "counts": counts,
            "groups": groups,
            "cloud_versions": cloud_versions,
            "cloud_split": cloud_split,
            "halves": halves,
            "wait": wait,
        }
        super().__init__(name, inputs, ["name", "number", "outcome", "confirmed", "contents"], opts)
