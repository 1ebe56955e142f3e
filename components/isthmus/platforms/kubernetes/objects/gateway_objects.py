"""The gateway's Pods: Envoy with its files, and what it is configured to do.

/etc/envoy/static/envoy.json            ConfigMap; another one starts new Pods
/etc/envoy/live/{lds,cds,sds}.json      Secret and ConfigMap in one volume; taken up while Envoy runs
/etc/envoy/traffic/rds.json             ConfigMap that the plugin writes: how requests are split
/etc/envoy/tls/tls.{crt,key}            Secret, where the gateway speaks TLS
"""

import dataclasses
import hashlib
from collections.abc import Iterator

from isthmus import gateway, names
from isthmus.gateway import Gateway, Server, Tls
from isthmus.names import ADMIN_PORT, CANARY, GATEWAY, GRPC_PORT, REST_PORT, STATIC_CONFIG_ANNOTATION, STATUS_PORT
from isthmus.platforms.kubernetes.objects.naming import Json, labels, manifest, named, secret, selector, server_host
from isthmus.platforms.kubernetes.objects.pods import SECRET_MODE, container, pod, rolling, sleep_before_stop
from isthmus.platforms.kubernetes.objects.scraping import GATEWAY_SCRAPE, annotations
from isthmus.platforms.kubernetes.objects.spec import KubernetesService, Pool, Track

FOLDER = "/etc/envoy"
STATIC, LIVE, TRAFFIC, TLS = f"{FOLDER}/static", f"{FOLDER}/live", f"{FOLDER}/traffic", f"{FOLDER}/tls"
BOOTSTRAP = "envoy.json"
SECRET_FILES = ("lds.json",)
"""Live files that may hold keys."""
EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside the Pod, whose NetworkPolicy says who may come
# Of the memory limit: beyond it Envoy refuses requests, where the kernel would kill it at the limit.
HEAP_SHARE = 0.9


def envoy(service: KubernetesService) -> Gateway:
    """The gateway's configuration: servers by the names of the headless Services. Raises ValueError as `Gateway` does."""
    pods = service.gateway
    options = dataclasses.replace(
        pods.options,
        tls=Tls(f"{TLS}/tls.crt", f"{TLS}/tls.key") if pods.tls else None,
        max_memory_bytes=pods.options.max_memory_bytes or round(pods.resources.memory_mib * 1024 * 1024 * HEAP_SHARE),
        workers=pods.options.workers or pods.resources.cores,
    )
    return Gateway(
        node=named(service, "gateway"),
        model_name=service.model_name,
        tracks=tuple(_tracks(service)),
        rest_port=REST_PORT,
        grpc_port=GRPC_PORT,
        admin_port=ADMIN_PORT,
        status_port=STATUS_PORT,
        directory=LIVE,
        traffic_directory=TRAFFIC,
        balancing=pods.balancing,
        bind_address=EVERYWHERE,
        has_own_network=True,
        options=options,
    )


def _tracks(service: KubernetesService) -> Iterator[gateway.Track]:
    """Any version is healthy: a Pod is behind the name once its own probe has seen the version that it is to serve, and in a rolling
    update there are two versions at once.

    A canary's name is always asked for. So its servers get requests until the split says otherwise, also in the update that takes
    the canary out of the program; until there is one, nobody is behind the name.
    """
    for track in service.tracks:
        servers = tuple(Server(server_host(service, track, pool), REST_PORT, GRPC_PORT, pool.weight) for pool in track.pools)
        yield gateway.Track(track.name, 0, servers, resolve=True)
    if len(service.tracks) == 1 and len(service.tracks[0].pools) == 1:
        canary = Server(server_host(service, Track(CANARY), Pool()), REST_PORT, GRPC_PORT)
        yield gateway.Track(CANARY, 0, (canary,), resolve=True)


def gateway_secret(service: KubernetesService) -> Json:
    """The live files that may hold keys (secret)."""
    files = {name: text for name, text in gateway.live_files(envoy(service)).items() if name in SECRET_FILES}
    return secret(service, named(service, "gateway"), "Opaque", files, GATEWAY)


def gateway_config(service: KubernetesService) -> Json:
    """The bootstrap file and the live files without secrets."""
    configuration = envoy(service)
    live = {name: text for name, text in gateway.live_files(configuration).items() if name not in SECRET_FILES}
    data = {**gateway.static_files(configuration), **live}
    return manifest(service, "v1", "ConfigMap", named(service, "gateway"), GATEWAY, data=data)


def tls_secret(service: KubernetesService) -> Json:
    """The certificate and its key (secret)."""
    data = {"tls.crt": service.gateway.tls_certificate, "tls.key": service.gateway.tls_key}
    return secret(service, named(service, "tls"), "kubernetes.io/tls", data, GATEWAY)


def traffic_name(service: KubernetesService) -> str:
    """Of the ConfigMap with rds.json, which is the plugin's and no object of ours: it must be there before the Pods."""
    return names.traffic_name(service.name)


def gateway_deployment(service: KubernetesService) -> Json:
    """Envoy. New live files, certificates and splits reach running Pods; another bootstrap file starts new ones."""
    configuration, chosen = envoy(service), selector(service, GATEWAY)
    static = "".join(f"{name}\0{text}\0" for name, text in sorted(gateway.static_files(configuration).items()))
    leave = service.gateway.leave_seconds or gateway.leave_seconds(configuration.options)
    return manifest(
        service,
        "apps/v1",
        "Deployment",
        named(service, "gateway"),
        GATEWAY,
        spec=rolling(
            service,
            replicas=service.gateway.replicas,
            selector={"matchLabels": chosen},
            template={
                "metadata": {
                    "labels": labels(service, GATEWAY),
                    "annotations": {
                        STATIC_CONFIG_ANNOTATION: hashlib.sha256(static.encode()).hexdigest(),
                        **annotations(GATEWAY_SCRAPE),
                    },
                },
                "spec": pod(
                    service,
                    chosen,
                    # Until then it serves, and asks every connection to close; at SIGTERM Envoy ends at once.
                    grace_seconds=leave + 5,
                    containers=[_envoy_container(service, configuration, leave)],
                    volumes=_volumes(service),
                ),
            },
        ),
    )


def _envoy_container(service: KubernetesService, configuration: Gateway, leave_seconds: int) -> Json:
    folders = {"static": STATIC, "live": LIVE, "traffic": TRAFFIC, **({"tls": TLS} if service.gateway.tls else {})}
    return container(
        service,
        "envoy",
        service.images.gateway,
        service.gateway.resources,
        command=["/usr/local/bin/envoy"],
        args=gateway.command(configuration, f"{STATIC}/{BOOTSTRAP}")[1:],
        ports=[
            {"name": "rest", "containerPort": REST_PORT},
            {"name": "grpc", "containerPort": GRPC_PORT},
            {"name": "status", "containerPort": STATUS_PORT},
        ],
        # Envoy calls itself ready also when it refused a file with listeners: the port tells.
        startupProbe={"tcpSocket": {"port": "rest"}, "periodSeconds": 1, "failureThreshold": 60},
        # The gateway itself, not the servers behind it: without servers it must answer 503, and not vanish.
        readinessProbe={"httpGet": {"path": "/ready", "port": "status"}, "periodSeconds": 2, "timeoutSeconds": 3, "failureThreshold": 3},
        livenessProbe={"tcpSocket": {"port": "status"}, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        lifecycle=sleep_before_stop(leave_seconds),
        volumeMounts=[{"name": name, "mountPath": path, "readOnly": True} for name, path in folders.items()],
    )


def _volumes(service: KubernetesService) -> list[Json]:
    config, traffic, tls = named(service, "gateway"), traffic_name(service), named(service, "tls")
    public = [name for name in gateway.live_files(envoy(service)) if name not in SECRET_FILES]
    volumes: list[Json] = [
        {"name": "static", "configMap": {"name": config, "items": [{"key": BOOTSTRAP, "path": BOOTSTRAP}]}},
        {
            "name": "live",
            "projected": {
                "defaultMode": SECRET_MODE,
                "sources": [
                    {"secret": {"name": config, "items": [{"key": name, "path": name} for name in SECRET_FILES]}},
                    {"configMap": {"name": config, "items": [{"key": name, "path": name} for name in public]}},
                ],
            },
        },
        {"name": "traffic", "configMap": {"name": traffic}},
    ]
    if service.gateway.tls:
        volumes.append({"name": "tls", "secret": {"secretName": tls, "defaultMode": SECRET_MODE}})
    return volumes
