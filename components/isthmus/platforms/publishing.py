"""Where the releases of a service's servers lie in its store, and the resource that brings one there."""

from typing import Any

import pulumi
from pulumi import Output, ResourceOptions

from isthmus import compiling
from isthmus.arguments.components import CloudSettings
from isthmus.arguments.source import SourceSettings
from isthmus.resources import PublishedRelease


def store_of(args: CloudSettings, *, pull: bool = False) -> dict[str, Any]:
    """The store as this machine reaches it; pull: as servers do, and with their credentials."""
    store = args.store
    assert store is not None  # noqa: S101  platform_rules has seen to it

    def of(key: str) -> Any:
        return (getattr(store, f"pull_{key}") if pull else None) or getattr(store, key)

    secrets = {key: Output.secret(of(key)) for key in ("access_key", "secret_key")}
    return {"endpoint": of("endpoint"), "region": store.region, **secrets}


def key_prefix(args: SourceSettings, name: str) -> str:
    """Of a service's or a fleet's keys: no other's, so that removing one takes nothing away from another."""
    return f"{args.store.prefix if args.store else ''}{pulumi.get_project()}/{pulumi.get_stack()}/{name}/"


def publish(
    component: pulumi.Resource, args: CloudSettings, made: compiling.Compiling[Any], *, resource: str, prefix: str
) -> PublishedRelease:
    """A release in the store, under the prefix. resource: the resource's name."""
    return PublishedRelease(
        resource,
        store=store_of(args),
        bucket=args.bucket,
        prefix=prefix,
        digest=made.digest(),
        cache_directory=made.cache_directory,
        check_at_preview=True,
        opts=ResourceOptions(parent=component),
    )
