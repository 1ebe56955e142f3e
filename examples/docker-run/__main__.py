"""One model on one Docker engine of this machine; README.md has it beside the `docker run` that it replaces."""

import pulumi

from isthmus import CloudModelService
from isthmus.platforms.local.declare import LocalStack

config = pulumi.Config()

# The store that the release is fetched from: a given one, or one of the stack's own on loopback, where an engine on this machine finds it.
store = config.get_object("store")
if store is None:
    local = LocalStack.of(None)
    address, _ = local.store
    bucket = local.bucket("models")
    # Known once the bucket is there.
    store = {**address, "endpoint": pulumi.Output.all(address["endpoint"], bucket.id).apply(lambda known: known[0])}

service = CloudModelService(
    config.get("name") or "digits",
    {
        "model": config.get("model") or "../../models/digits",
        "requests_per_second": 20,
        "p95_ms": 200,
        "platform": "docker",
        "docker": {
            "hosts": [{"name": "here", "address": config.require("address"), "ip": config.get("ip") or "127.0.0.1"}],
            "directory": config.get("directory") or "/var/lib/isthmus",
            "port": config.get_int("port") or 8501,
            "grpc_port": config.get_int("grpc_port") or 8500,
        },
        "images": config.get_object("images") or {},
        "store": store,
        "bucket": "models",
    },
)
for name in ("endpoint", "grpc_endpoint", "digest"):
    pulumi.export(name, getattr(service, name))
