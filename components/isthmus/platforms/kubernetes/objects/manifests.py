"""All objects of a service, in the order in which they are made."""

from collections.abc import Iterator
from dataclasses import replace

from isthmus.digest import Digest
from isthmus.errors import Problem
from isthmus.platforms.kubernetes.objects import autoscaling, dashboards, fetching, gateway_objects, network, rules, scraping, workloads
from isthmus.platforms.kubernetes.objects.naming import Json, named
from isthmus.platforms.kubernetes.objects.resources import volume_mib
from isthmus.platforms.kubernetes.objects.spec import KubernetesService, Pool, Served, Track
from isthmus.release.fetch import FetchFile, FetchPlan

_UNKNOWN_DIGEST = Digest.from_hex(64 * "0")


def objects(service: KubernetesService) -> dict[str, Json]:
    """Every object under a key that says what it is (`server-stable`, `gateway-budget`, …), in the order to make them in.

    Which keys there are, and each object's apiVersion, kind and metadata, do not depend on releases, plans or secrets.
    The ConfigMap `traffic_name` is not among them; it must be there before the `gateway` Deployment's Pods can start.
    Raises ValueError where a track has no release yet; see `outline`.
    """
    return dict(_objects(service))


def outline(service: KubernetesService) -> dict[str, Json]:
    """`objects` without their content: apiVersion, kind and metadata, known before any release is."""
    tracks = tuple(
        track if track.serves else replace(track, serves=_unknown(number)) for number, track in enumerate(service.tracks, start=1)
    )
    kept = ("apiVersion", "kind", "metadata")
    return {key: {name: it[name] for name in kept} for key, it in objects(replace(service, tracks=tracks)).items()}


def _unknown(version: int) -> Served:
    file = FetchFile(f"serving/{version}/saved_model.pb", 64 * "0", 0)
    return Served(version, _UNKNOWN_DIGEST, FetchPlan(_UNKNOWN_DIGEST, version, 0, (file,)))


def _pools(service: KubernetesService) -> Iterator[tuple[str, Track, Pool, Served]]:
    for track in service.tracks:
        if track.serves is None:
            raise ValueError(f"track {track.name} of {service.name} has no release")
        for pool in track.pools:
            yield "-".join(filter(None, (track.name, pool.name))), track, pool, track.serves


def _objects(service: KubernetesService) -> Iterator[tuple[str, Json]]:
    pools = list(_pools(service))
    if service.create_namespace:
        yield "namespace", workloads.namespace(service)
    yield "account", workloads.service_account(service)
    yield "default-deny", network.default_deny(service)
    yield "gateway-policy", network.gateway_policy(service)
    yield "servers-policy", network.servers_policy(service)
    yield "store-secret", fetching.store_secret(service)
    yield "server-config", workloads.server_config(service)
    for key, track, pool, served in pools:
        yield f"servers-{key}", network.servers_service(service, track, pool)
        yield f"budget-{key}", autoscaling.server_budget(service, track, pool)
        yield f"server-{key}", workloads.deployment(service, track, pool, served)
        if service.autoscale:
            yield f"autoscaler-{key}", autoscaling.autoscaler(service, track, pool)
    yield "gateway-secret", gateway_objects.gateway_secret(service)
    yield "gateway-config", gateway_objects.gateway_config(service)
    if service.gateway.tls:
        yield "gateway-tls", gateway_objects.tls_secret(service)
    yield "gateway-budget", autoscaling.gateway_budget(service)
    yield "gateway", gateway_objects.gateway_deployment(service)
    yield "service", network.gateway_service(service)
    if service.observability.operator:
        yield "server-monitor", scraping.pod_monitor(service, scraping.SERVER_SCRAPE)
        yield "gateway-monitor", scraping.pod_monitor(service, scraping.GATEWAY_SCRAPE)
    yield "rules", rules.rules(service)
    yield "dashboard", dashboards.dashboard_config(service)


def monitors(service: KubernetesService) -> list[Json]:
    """What the Prometheus operator reads, for a cluster of which nobody knows whether it has one.

    The names are not those of `objects`: what changes from one way to the other is made anew before the old one goes.
    """
    scrapes = (scraping.SERVER_SCRAPE, scraping.GATEWAY_SCRAPE)
    found = [scraping.pod_monitor(service, scrape, named(service, scrape.component, "monitor")) for scrape in scrapes]
    return [*found, rules.operators_rules(service, named(service, "alerts"))]


def problems(service: KubernetesService, path: str) -> list[Problem]:
    """What a cluster would refuse or could never run, found before it is asked. path: of the service's arguments."""
    at = f"{path}.kubernetes"
    found: list[Problem] = []
    for track in service.tracks:
        if track.serves:
            found += _release_problems(service, track.serves, path, at)
        for pool in track.pools:
            if pool.min_replicas < 1 and service.autoscale:
                found.append(
                    Problem(
                        f"{path}.min_replicas",
                        "0 replicas use no CPU, and by CPU the autoscaler would never start the first one again",
                        "at least 1",
                        "set min_replicas: 1",
                    )
                )
    return found


def _release_problems(service: KubernetesService, served: Served, path: str, at: str) -> Iterator[Problem]:
    needed = volume_mib(served.fetch.size_bytes)
    if 0 < service.model_volume_mib < needed:
        yield Problem(
            f"{at}.model_size_limit_mib",
            f"{service.model_volume_mib} MiB cannot hold version {served.version}",
            f"at least {needed}",
            "raise it, or leave it out",
        )
    script = len(served.fetch.script().encode())
    if script > fetching.MOST_SCRIPT_BYTES:
        yield Problem(
            f"{path}.model",
            f"its {len(served.fetch.files)} files make a fetch script of {script} bytes",
            f"at most {fetching.MOST_SCRIPT_BYTES}: it is one argument of a container",
            "put the model's many small assets into fewer files",
        )
