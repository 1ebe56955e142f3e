"""What a gateway is: who serves, how requests are balanced and split, and what is let through."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from isthmus.errors import Problem
from isthmus.limits import GATEWAY
from isthmus.names import CANARY, STABLE

MIB = 1024 * 1024
BALANCING = ("round_robin", "least_request", "weighted")

# From the moment a Pod is marked for deletion until no node sends it new connections any more.
PROPAGATION_SECONDS = 5
# Shorter keys can be guessed, or are a mistake.
MIN_KEY_LENGTH = 16


@dataclass(frozen=True)
class Socket:
    """A Unix socket, in place of a port of some host. path: absolute, or a placeholder as for a port."""

    path: str


# A port number, or a placeholder such as `${port.rest}` that is filled in before Envoy reads the file; or a Unix socket.
Port = int | str | Socket


@dataclass(frozen=True)
class Server:
    """A model server, or a DNS name with several behind it (`Track.resolve`).

    host: not looked at where the ports are sockets. weight: share of the requests relative to the others' (formula 3); 0: not
    listed. Behind a name, of each address.
    """

    host: str
    rest_port: Port
    grpc_port: Port
    weight: int = 1


@dataclass(frozen=True)
class Track:
    """Servers of one version.

    name: stable or canary. version: what a healthy server has loaded; 0: any. servers: empty where they are not known yet: all
        requests get 503. resolve: hosts are DNS names that are looked up again and again, and every address behind one is a
        server.
    """

    name: str
    version: int
    servers: tuple[Server, ...]
    resolve: bool = False


@dataclass(frozen=True)
class Traffic:
    """Who gets the requests that name no track: percent of each track (sum 100), and a copy of some for one that answers nobody.

    mirror_to: track that gets the copies; "": nobody. mirror_percent: of the requests.
    """

    percent: Mapping[str, int] = field(default_factory=lambda: {STABLE: 100})
    mirror_to: str = ""
    mirror_percent: int = 0


@dataclass(frozen=True)
class Jwt:
    """Tokens that are accepted. jwks: the issuer's public keys (RFC 7517, JSON). audiences: one of them; empty: any."""

    issuer: str
    audiences: tuple[str, ...]
    jwks: str


@dataclass(frozen=True)
class Tls:
    """PEM files on the gateway's machine. They may be replaced while it runs, by moving a file or a folder into their place."""

    certificate_file: str
    key_file: str


@dataclass(frozen=True)
class GatewayOptions:
    """Limits and access. Percents are of the requests in flight; limits hold for each gateway process.

    timeout_seconds: for a whole request, all tries together. try_timeout_seconds: for one try; None: half of it, so that what a
        server took with it when it vanished from the network is asked of another one in time.
    max_request_bytes: of a body; it is held in memory until it is complete, so that it can be sent again.
    max_connections: from clients. max_requests, max_pending_requests: per track and protocol, at servers and waiting for one.
    device_requests: of devices, per track and protocol, at servers; further ones are turned away; 0: devices are as anybody.
    max_retries_percent: of the requests in flight that may be retries. min_retries: that may be in any case; as many requests
        as one server has in flight when it is killed.
    max_memory_bytes: near it no more requests are accepted; 0: no limit.
    drain_seconds: a connection this old is asked to close with its next answer, so that no client stays for long on a gateway
        that is leaving. See `leave_seconds`.
    api_keys: client's name → key (secret). jwt: with both, either is enough.
    requests_per_second_per_client: 0: no limit. burst_per_client: at once, after a pause; 0: as many as in one second.
    trusted_hops: proxies before the gateway whose x-forwarded-for is believed.
    workers: Envoy's threads; 0: one for each core.
    """

    timeout_seconds: float = GATEWAY["timeout_seconds"].default
    try_timeout_seconds: float | None = None
    max_request_bytes: int = int(GATEWAY["max_request_mib"].default * MIB)
    max_connections: int = 10_000
    max_requests: int = 1024
    max_pending_requests: int = 1024
    device_requests: int = 0
    max_retries_percent: int = 20
    min_retries: int = 64
    max_memory_bytes: int = 0
    drain_seconds: int = 10
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    jwt: Jwt | None = None
    requests_per_second_per_client: float = 0.0
    burst_per_client: int = 0
    trusted_hops: int = 0
    tls: Tls | None = None
    workers: int = 0

    @property
    def has_access_control(self) -> bool:
        return bool(self.api_keys) or self.jwt is not None


@dataclass(frozen=True)
class Gateway:
    """One Envoy.

    node: its name. balancing: round_robin, least_request, or weighted (round robin in proportion to the servers' weights).
    bind_address: of both listeners and of the status listener (`status_port`, None: there is none), which shows a part of the
        admin interface; admin itself stays on admin_address. directory: where Envoy finds lds.json and cds.json.
    has_own_network: nobody else's processes could listen on its ports, as in a Pod.
    traffic_directory: where it finds rds.json. Both are watched: files take effect when they are moved into place.
    Raises ValueError for tracks or servers that cannot be.
    """

    node: str
    model_name: str
    tracks: tuple[Track, ...]
    rest_port: Port
    grpc_port: Port
    admin_port: Port
    directory: str
    traffic_directory: str
    balancing: str = "least_request"
    bind_address: str = "127.0.0.1"
    admin_address: str = "127.0.0.1"
    status_port: Port | None = None
    has_own_network: bool = False
    options: GatewayOptions = field(default_factory=GatewayOptions)

    def __post_init__(self) -> None:
        if self.balancing not in BALANCING:
            raise ValueError(f"balancing is {self.balancing!r}, not one of {', '.join(BALANCING)}")
        check_tracks({track.name: track.version for track in self.tracks})
        for track in self.tracks:
            weights = [server.weight for server in track.servers]
            if weights and (min(weights) < 0 or max(weights) == 0):
                raise ValueError(f"track {track.name} has the weights {weights}: none may be negative, nor all of them 0")


def check_tracks(versions: Mapping[str, int], traffic: Traffic | None = None) -> None:
    """Raises ValueError where tracks cannot be told apart, or traffic names one that is not there."""
    if not versions:
        raise ValueError("a gateway needs a track")
    if unknown := set(versions) - {STABLE, CANARY}:
        raise ValueError(f"unknown tracks: {', '.join(sorted(unknown))}")
    pinned = [version for version in versions.values() if version]
    if len(set(pinned)) < len(pinned):
        raise ValueError("two tracks have the same version: no path could tell them apart")
    if traffic is None:
        return
    if sum(traffic.percent.values()) != 100 or min(traffic.percent.values()) < 0:
        raise ValueError(f"percents of the tracks are {dict(traffic.percent)}; they must sum to 100")
    if unknown := {name for name, percent in traffic.percent.items() if percent} - set(versions):
        raise ValueError(f"traffic for tracks that are not there: {', '.join(sorted(unknown))}")
    if traffic.mirror_to and traffic.mirror_to not in versions:
        raise ValueError(f"mirror to a track that is not there: {traffic.mirror_to}")
    if not 0 <= traffic.mirror_percent <= 100:
        raise ValueError(f"mirror_percent is {traffic.mirror_percent}")


def leave_seconds(options: GatewayOptions) -> int:
    """How long a gateway must go on serving after it was told to leave, so that no request is lost.

    New connections come until the last node has heard (PROPAGATION_SECONDS); each is asked to close after drain_seconds; its
    last request may take the whole timeout.
    """
    return math.ceil(PROPAGATION_SECONDS + options.drain_seconds + options.timeout_seconds)


def options_problems(options: GatewayOptions, path: str) -> list[Problem]:
    """What is wrong with keys and tokens, said without showing them. path: of the gateway's arguments."""
    return [
        *_key_problems(options.api_keys, f"{path}.api_keys"),
        *(_jwks_problems(options.jwt.jwks, f"{path}.jwks") if options.jwt else ()),
    ]


def _key_problems(keys: Mapping[str, str], path: str) -> Iterator[Problem]:
    owners: dict[str, list[str]] = {}
    for client, key in keys.items():
        owners.setdefault(repr(key), []).append(client)
        if not client or not client.isprintable() or not client.isascii():
            yield Problem(f'{path}["{client}"]', "is not a name that fits into a header", "printable ASCII")
        if not isinstance(key, str) or len(key) < MIN_KEY_LENGTH or not key.isprintable() or not key.isascii() or key != key.strip():
            yield Problem(
                f'{path}["{client}"]', "is too short or not printable", f"at least {MIN_KEY_LENGTH} ASCII letters, digits and signs"
            )
    for clients in owners.values():
        if len(clients) > 1:
            yield Problem(path, f"{', '.join(clients)} have the same key", "a key for each client")


def _jwks_problems(jwks: str, path: str) -> Sequence[Problem]:
    try:
        keys = json.loads(jwks)["keys"]
        kinds = [(key["kty"], "d" in key) for key in keys]
    except (ValueError, KeyError, TypeError):
        return [Problem(path, "is not a JSON Web Key Set", '{"keys": [{"kty": …}, …]}')]
    if not kinds:
        return [Problem(path, "has no key in it", "at least one")]
    if any(private or kind == "oct" for kind, private in kinds):
        return [Problem(path, "has a private key in it", "public keys alone", "remove it, and make a new pair: this one is known now")]
    return []
