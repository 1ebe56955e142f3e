"""How a server's Pod gets its release: an init container that fetches it by digest and verifies it.

The script is an argument of the container and no ConfigMap's: so a Pod template is whole by itself, and a Pod that starts in the
middle of an update, or after a rollback, fetches the release that its template names and no other.
"""

from isthmus.names import MODELS_FOLDER
from isthmus.platforms.kubernetes.objects.naming import Json, named, secret
from isthmus.platforms.kubernetes.objects.pods import container, empty_dir
from isthmus.platforms.kubernetes.objects.resources import Resources, volume_mib
from isthmus.platforms.kubernetes.objects.spec import KubernetesService, Served
from isthmus.release import fetch

VOLUME = "model"
RESOURCES = Resources(cpu_millis=50, memory_mib=64)
MOST_SCRIPT_BYTES = 120_000
"""Linux takes no argument of 128 KiB or more."""

_CREDENTIALS = {fetch.ACCESS_KEY_VARIABLE: "access_key", fetch.SECRET_KEY_VARIABLE: "secret_key"}


def store_secret(service: KubernetesService) -> Json:
    """The credentials that releases are fetched with (secret)."""
    data = {"access_key": service.store.access_key, "secret_key": service.store.secret_key}
    return secret(service, named(service, "store"), "Opaque", data)


def folder(service: KubernetesService) -> str:
    """Where fetch and server see the volume; the release is in the folder of its version there."""
    return f"{MODELS_FOLDER}/{service.model_name}"


def volume_size_mib(service: KubernetesService, served: Served) -> int:
    """Size limit of the volume."""
    return service.model_volume_mib or volume_mib(served.fetch.size_bytes)


def volume(service: KubernetesService, served: Served) -> Json:
    """The volume that the release is fetched to."""
    return empty_dir(VOLUME, volume_size_mib(service, served))


def fetch_container(service: KubernetesService, served: Served) -> Json:
    """The init container; when it has ended well, the release is complete."""
    store = service.store
    plain = fetch.environment(
        endpoint=store.endpoint,
        region=store.region,
        bucket=store.bucket,
        prefix=store.prefix + served.prefix,
        digest=served.digest,
        target=folder(service),
    )
    secret = named(service, "store")
    return container(
        service,
        "fetch",
        service.images.fetch,
        RESOURCES,
        disk_mib=volume_size_mib(service, served) + RESOURCES.memory_mib,
        command=["/bin/sh", "-c", served.fetch.script()],
        env=[
            *({"name": name, "value": value} for name, value in plain.items()),
            *({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}} for name, key in _CREDENTIALS.items()),
        ],
        volumeMounts=[{"name": VOLUME, "mountPath": folder(service)}],
    )
