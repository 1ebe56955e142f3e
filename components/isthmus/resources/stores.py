"""What lies in a store: buckets and releases; and the keys for it."""

from collections.abc import Mapping
from typing import Any

from pulumi import Input, Output, ResourceOptions

from isthmus.resources.base import Resource, this_stack


class StoreCredentials(Resource):
    """A random S3 access key and secret key, made once and kept in the state as secrets. Outputs: `access_key`, `secret_key`."""

    access_key: Output[str]
    secret_key: Output[str]

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        super().__init__(name, {}, ["access_key", "secret_key"], opts, secret=["access_key", "secret_key"])


class LoopbackCertificate(Resource):
    """A certificate for 127.0.0.1 that is its own authority, made once: programs that share its key know each other by it.

    Outputs: `certificate`, `private_key` (PEM); both are secrets of the state.
    """

    certificate: Output[str]
    private_key: Output[str]

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        super().__init__(name, {}, ["certificate", "private_key"], opts, secret=["certificate", "private_key"])


class Bucket(Resource):
    """An S3 bucket of a store. One that is there already is used as it is, and stays when the stack goes.

    store: `endpoint` (URL), `region`, `access_key`, `secret_key`.
    Outputs: `made`: whether the stack made it. Then it is deleted with the stack, unless it holds what is not the stack's.
    """

    bucket: Output[str]

    def __init__(self, name: str, *, store: Input[Mapping[str, Any]], bucket: Input[str], opts: ResourceOptions | None = None) -> None:
        super().__init__(name, {"store": store, "bucket": bucket, "owner": this_stack()}, ["made"], opts)


class PublishedRelease(Resource):
    """A release's serving variant (SavedModel, golden vectors, record, manifest) in a bucket, for servers to fetch by digest.

    store, bucket: as for `Bucket`. prefix: key prefix, ends with `/`; objects lie under `{prefix}releases/{digest}/`.
    The manifest goes up last; what is there already with the right content is not uploaded again. Read finds missing or
    changed objects; delete removes them, the manifest first. A store that cannot be reached, or that refuses the credentials, is an error
    at preview when `store` is known and `check_at_preview` is true.
    """

    digest: Output[str]

    def __init__(
        self,
        name: str,
        *,
        store: Input[Mapping[str, Any]],
        bucket: Input[str],
        prefix: Input[str],
        digest: Input[str],
        cache_directory: Input[str],
        check_at_preview: Input[bool] = False,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "store": store,
            "bucket": bucket,
            "prefix": prefix,
            "digest": digest,
            "cache_directory": cache_directory,
            "check_at_preview": check_at_preview,
            "owner": this_stack(),
        }
        super().__init__(name, inputs, [], opts)
