"""Envoy's JSON: the few shapes that all its parts are made of."""

import json
from collections.abc import Iterable
from typing import Any

from isthmus.gateway.spec import Port, Socket

Json = dict[str, Any]

_PREFIX = "type.googleapis.com/"


def typed(kind: str, **content: Any) -> Json:
    """A message of a named type. kind: without `envoy.`, such as `config.cluster.v3.Cluster`."""
    return {"@type": f"{_PREFIX}envoy.{kind}", **content}


def extension(name: str, kind: str, **content: Any) -> Json:
    """An extension, such as a filter, with its configuration."""
    return {"name": name, "typed_config": typed(kind, **content)}


# Of sockets that Envoy makes: their owner alone may connect.
_PRIVATE = 0o600


def address(host: str, port: Port) -> Json:
    if isinstance(port, Socket):
        return {"pipe": {"path": port.path, "mode": _PRIVATE}}
    both = {"ipv4_compat": True} if host == "::" else {}
    return {"socket_address": {"address": host, "port_value": port, **both}}


def header(name: str, value: str) -> Json:
    """A header that is set, whatever it was before."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def seconds(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") + "s"


def watched(directory: str, file: str) -> Json:
    """A file that Envoy reads again when something is moved into its folder: renamed files, and Kubernetes' swapped folders."""
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": f"{directory}/{file}", "watched_directory": {"path": directory}},
    }


def resources_text(kind: str, resources: Iterable[Json]) -> str:
    """A file of resources, as Envoy watches it."""
    return text({"resources": [typed(kind, **resource) for resource in resources]})


def text(content: Json) -> str:
    # A port is a number in Envoy's schema, and may be a placeholder in ours: protobuf's JSON accepts a quoted number.
    return json.dumps(content, indent=1, sort_keys=True)
