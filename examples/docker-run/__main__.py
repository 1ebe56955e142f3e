"""One model on one Docker engine of this machine; README.md has it beside the `docker run` that it replaces."""

import pulumi

from isthmus import CloudModelService
from isthmus.platforms.local_stack import LocalStack

config = pulumi.Config()

# The store that the release is fetched from: one of the stack's own on loopback, since the engine is on this machine.
local = LocalStack.of(None)
store, _ = local.store
bucket = local.bucket("models")

service = CloudModelService(
    config.get("name") or "digits",
    {
        "model": config.get("model") or "../../models/digits",
        "requests_per_second": 20,
        "p95_ms": 200,
        "platform": "docker",
        "docker": {
            "hosts": [{"name": "here", "address": config.require("address"), "ip": "127.0.0.1"}],
            "directory": config.get("directory") or "/var/lib/isthmus",
            "port": config.get_int("port") or 8501,
            "grpc_port": config.get_int("grpc_port") or 8500,
        },
        "images": config.get_object("images") or {},
        # Known once the bucket is there.
        "store": {**store, "endpoint": pulumi.Output.all(store["endpoint"], bucket.id).apply(lambda known: known[0])},
        "bucket": "models",
    },
)
for name in ("endpoint", "grpc_endpoint", "digest"):
    pulumi.export(name, getattr(service, name))
