"""The gateway: Envoy's configuration as a pure function of who serves, how requests are balanced, and who may ask.

The bootstrap file never changes. Listeners, clusters and routes lie in files that Envoy watches (file-based xDS), so that new
servers, another split or a new key take effect without a restart and without losing a request. Routes lie in a folder of
their own: whoever moves traffic between versions writes that one file and nothing else.

    spec.py        what a gateway is, as values
    bootstrap.py   envoy.json: where the rest is found; overload; the status listener
    listeners.py   lds.json, sds.json: ports, limits, TLS, error bodies, access log
    access.py      the filters in them: keys, tokens, rate limits, body size
    admission.py   the second set of limits, for requests of devices
    clusters.py    cds.json: servers, health, balancing, circuit breakers
    routes.py      rds.json: which request goes to which track
"""

from collections.abc import Mapping

from isthmus.gateway.access import ALIVE_PATH, CLIENT_HEADER, KEY_HEADER, READY_PATH
from isthmus.gateway.admission import DEVICE_HEADER, RETRY_AFTER_SECONDS
from isthmus.gateway.bootstrap import bootstrap, command
from isthmus.gateway.clusters import clusters
from isthmus.gateway.listeners import certificate, listeners
from isthmus.gateway.routes import TRACK_HEADER, route_config
from isthmus.gateway.spec import (
    Gateway,
    GatewayOptions,
    Jwt,
    Port,
    Server,
    Socket,
    Tls,
    Track,
    Traffic,
    leave_seconds,
    options_problems,
)
from isthmus.gateway.wire import resources_text, text

__all__ = [
    "ALIVE_PATH",
    "CLIENT_HEADER",
    "DEVICE_HEADER",
    "KEY_HEADER",
    "READY_PATH",
    "RETRY_AFTER_SECONDS",
    "TRACK_HEADER",
    "Gateway",
    "GatewayOptions",
    "Jwt",
    "Port",
    "Server",
    "Socket",
    "Tls",
    "Track",
    "Traffic",
    "command",
    "leave_seconds",
    "live_files",
    "options_problems",
    "route_files",
    "routes_of",
    "static_files",
]


def static_files(gateway: Gateway) -> dict[str, str]:
    """envoy.json: needs a restart when it changes."""
    return {"envoy.json": text(bootstrap(gateway))}


def live_files(gateway: Gateway) -> dict[str, str]:
    """What Envoy takes up from `directory` while it runs: lds.json (secret where there are API keys), cds.json, with TLS sds.json."""
    files = {
        "lds.json": resources_text("config.listener.v3.Listener", listeners(gateway)),
        "cds.json": resources_text("config.cluster.v3.Cluster", clusters(gateway)),
    }
    if gateway.options.tls:
        files["sds.json"] = resources_text("extensions.transport_sockets.tls.v3.Secret", certificate(gateway))
    return files


def route_files(
    model_name: str,
    versions: Mapping[str, int],
    traffic: Traffic,
    *,
    generation: str = "0",
    timeout_seconds: float = GatewayOptions.timeout_seconds,
    try_timeout_seconds: float | None = None,
    devices_apart: bool = False,
) -> dict[str, str]:
    """What Envoy takes up from `traffic_directory` while it runs: rds.json.

    Args:
        versions: track → version (0: not pinned), for the tracks that have servers.
        generation: of the traffic; appears as the virtual host's name `traffic-GENERATION`.
        devices_apart: whether devices' requests have limits of their own (`admission`).
    Raises ValueError where a track is named that is not in versions, or percents do not sum to 100.
    """
    config = route_config(
        model_name,
        versions,
        traffic,
        generation=generation,
        timeout_seconds=timeout_seconds,
        try_timeout_seconds=try_timeout_seconds,
        devices_apart=devices_apart,
    )
    return {"rds.json": resources_text("config.route.v3.RouteConfiguration", [config])}


def routes_of(gateway: Gateway, traffic: Traffic | None = None, *, generation: str = "0") -> dict[str, str]:
    """`route_files` for the tracks of a gateway. traffic: default: all for the stable one."""
    return route_files(
        gateway.model_name,
        {track.name: track.version for track in gateway.tracks},
        traffic or Traffic(),
        generation=generation,
        timeout_seconds=gateway.options.timeout_seconds,
        try_timeout_seconds=gateway.options.try_timeout_seconds,
        devices_apart=gateway.options.device_requests > 0,
    )
