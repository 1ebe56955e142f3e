"""The servers: a Deployment for each track and pool."""

from isthmus.names import (
    GRPC_PORT,
    MODEL_NAME_VARIABLE,
    MONITORING_CONFIG,
    MONITORING_FILE,
    RELEASE_ANNOTATION,
    REST_PORT,
    SERVER,
    VERSION_LABEL,
    model_path,
)
from isthmus.platforms.kubernetes.objects import fetching
from isthmus.platforms.kubernetes.objects.naming import Json, labels, manifest, metadata, named, pool_labels, selector, server_name
from isthmus.platforms.kubernetes.objects.pods import LOG_MIB, container, empty_dir, pod, rolling, sleep_before_stop
from isthmus.platforms.kubernetes.objects.scraping import SERVER_SCRAPE, annotations
from isthmus.platforms.kubernetes.objects.spec import KubernetesService, Pool, Served, Track

CONFIG_FOLDER = "/etc/serving"
PROBE_SECONDS = 5
STARTUP_SECONDS = 2


def service_account(service: KubernetesService) -> Json:
    """Who all Pods of the service are. Nothing in them talks to the API server, so they get no token."""
    pull: Json = {"imagePullSecrets": [{"name": name} for name in service.image_pull_secrets]} if service.image_pull_secrets else {}
    return manifest(service, "v1", "ServiceAccount", named(service), automountServiceAccountToken=False, **pull)


def namespace(service: KubernetesService) -> Json:
    """The service's own namespace, where Pods of the "restricted" standard alone are admitted."""
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata(service, service.namespace, **restricted),
    }


def server_config(service: KubernetesService) -> Json:
    """What the servers are told beside their flags."""
    data = {MONITORING_FILE: MONITORING_CONFIG}
    return manifest(service, "v1", "ConfigMap", named(service, "servers"), SERVER, data=data)


def deployment(service: KubernetesService, track: Track, pool: Pool, served: Served) -> Json:
    """Servers of one release on one kind of nodes. With an autoscaler the replicas are its own, and the field is left out."""
    chosen = {**selector(service, SERVER), **pool_labels(track, pool)}
    found = manifest(
        service,
        "apps/v1",
        "Deployment",
        server_name(service, track, pool),
        SERVER,
        spec=rolling(
            service,
            **({} if service.autoscale else {"replicas": pool.planned_replicas}),
            selector={"matchLabels": chosen},
            template={
                "metadata": {
                    "labels": {**labels(service, SERVER), **pool_labels(track, pool), VERSION_LABEL: str(served.version)},
                    "annotations": {RELEASE_ANNOTATION: served.digest, **annotations(SERVER_SCRAPE)},
                },
                "spec": _pod(service, pool, chosen, served),
            },
        ),
    )
    found["metadata"]["labels"].update(pool_labels(track, pool))
    return found


def _pod(service: KubernetesService, pool: Pool, chosen: dict[str, str], served: Served) -> Json:
    return pod(
        service,
        chosen,
        # After SIGTERM a request that has begun may take as long as any other. (tensorflow/serving's entry point does not pass the
        # signal on: there the server goes on answering for all of this time.)
        grace_seconds=service.server_drain_seconds + round(service.gateway.options.timeout_seconds) + 5,
        initContainers=[fetching.fetch_container(service, served)],
        containers=[_server(service, served)],
        volumes=[
            fetching.volume(service, served),
            {"name": "config", "configMap": {"name": named(service, "servers")}},
            empty_dir("tmp", LOG_MIB),
        ],
        **({"nodeSelector": dict(pool.node_selector)} if pool.node_selector else {}),
    )


def _server(service: KubernetesService, served: Served) -> Json:
    # 200 once this very version is available, an error while it loads; asking for the model alone is 200 all along.
    available = {"httpGet": {"path": f"{model_path(service.model_name)}/versions/{served.version}/metadata", "port": "rest"}}
    return container(
        service,
        "server",
        service.images.serving,
        service.resources,
        disk_mib=fetching.volume_size_mib(service, served) + 2 * LOG_MIB,
        args=[
            f"--monitoring_config_file={CONFIG_FOLDER}/{MONITORING_FILE}",
            f"--rest_api_timeout_in_ms={round(service.gateway.options.timeout_seconds * 1000)}",
            "--file_system_poll_wait_seconds=0",  # what is there at the start is all there will ever be
            "--max_num_load_retries=0",  # a model that cannot be loaded is an error now, not in five minutes
            # One operation of one request on no more cores than are asked for; the default is every core of the node.
            f"--tensorflow_intra_op_parallelism={service.resources.cores}",
        ],
        env=[{"name": MODEL_NAME_VARIABLE, "value": service.model_name}],
        ports=[{"name": "rest", "containerPort": REST_PORT}, {"name": "grpc", "containerPort": GRPC_PORT}],
        startupProbe={
            **available,
            "periodSeconds": STARTUP_SECONDS,
            "timeoutSeconds": PROBE_SECONDS,
            "failureThreshold": -(-service.load_seconds // STARTUP_SECONDS),
        },
        readinessProbe={**available, "periodSeconds": PROBE_SECONDS, "timeoutSeconds": PROBE_SECONDS, "failureThreshold": 3},
        # Asked only once the startup probe has passed, so a server that loads is left alone. A busy server still accepts connections.
        livenessProbe={"tcpSocket": {"port": "rest"}, "periodSeconds": 10, "timeoutSeconds": PROBE_SECONDS, "failureThreshold": 6},
        lifecycle=sleep_before_stop(service.server_drain_seconds),
        volumeMounts=[
            {"name": fetching.VOLUME, "mountPath": fetching.folder(service), "readOnly": True},
            {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    )
