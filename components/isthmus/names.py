"""Names, labels and ports on which two rooms must agree. Each is said here and nowhere else.

What one room writes and another one reads (the plugin and the platform, the platform and the command) is derived by the same
function here, also where it is too long and has to be shortened.
"""

import hashlib
import re
from typing import Final

PACKAGE: Final = "isthmus"
"""Of the plugin, and of the resources that it serves."""

# The tracks of a service: servers of one release each.
STABLE: Final = "stable"
CANARY: Final = "canary"
TRACKS: Final = (STABLE, CANARY)

# The parts of a service, as labels, programs and containers call them.
SERVER: Final = "server"
GATEWAY: Final = "gateway"
BROKER: Final = "_broker"
"""Of a fleet's groups. No device is called so."""

# Where the inputs of devices may go, as arguments and policies say it.
STAYS_ON_DEVICE: Final = "stays_on_device"
STAYS_IN_GROUP: Final = "stays_in_group"
MAY_LEAVE_DEVICE: Final = "may_leave_device"

DOMAIN: Final = "isthmus.dev"
"""What all labels and annotations of ours begin with."""
SERVICE_LABEL: Final = f"{DOMAIN}/service"
TRACK_LABEL: Final = f"{DOMAIN}/track"
POOL_LABEL: Final = f"{DOMAIN}/pool"
VERSION_LABEL: Final = f"{DOMAIN}/version"
RELEASE_ANNOTATION: Final = f"{DOMAIN}/release"
TRAFFIC_ANNOTATION: Final = f"{DOMAIN}/traffic"
GENERATION_ANNOTATION: Final = f"{DOMAIN}/traffic-generation"
MAKING_ANNOTATION: Final = f"{DOMAIN}/making"
"""Which making of a resource an object is of."""
STATIC_CONFIG_ANNOTATION: Final = f"{DOMAIN}/static-config"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
ONLY_POOL: Final = "default"
"""Value of POOL_LABEL where there is only one kind of servers."""
# Of containers on a Docker host, which have labels alone.
CONTAINER_COMPONENT_LABEL: Final = f"{DOMAIN}/component"
CONTAINER_DIGEST_LABEL: Final = f"{DOMAIN}/digest"

# As TensorFlow Serving's image has it.
REST_PORT: Final = 8501
GRPC_PORT: Final = 8500
MODELS_FOLDER: Final = "/models"
MODEL_NAME_VARIABLE: Final = "MODEL_NAME"
MONITORING_FILE: Final = "monitoring.config"
MONITORING_CONFIG: Final = "prometheus_config { enable: true }\n"
METRICS_PATH: Final = "/monitoring/prometheus/metrics"
# Of a gateway's Pod. ADMIN_PORT: on its loopback alone. STATUS_PORT: readiness, metrics and the loaded routes, and nothing that
# changes anything.
ADMIN_PORT: Final = 9901
STATUS_PORT: Final = 9902
# Where the first server of a Docker host is published; the next one's are one higher.
HOST_REST_PORT: Final = 8511
HOST_GRPC_PORT: Final = 8521

# Of the broker of a fleet's groups: what the platform writes, and its program reads.
BROKER_GROUPS_FILE: Final = "groups.json"
BROKER_CERTIFICATE_FILE: Final = "broker.crt"
BROKER_KEY_FILE: Final = "broker.key"

FLEET_REPOSITORY: Final = "FleetRepository"
"""The type of the resource that says where a stack has a fleet."""
WAVE_PASSED: Final = "passed"
"""The outcome of a `FleetWave` whose gate has passed."""
MOST_LABEL_CHARACTERS: Final = 63
"""Of a DNS label (RFC 1123)."""
MOST_PROGRAM_CHARACTERS: Final = 64
_MARK_CHARACTERS: Final = 8


def shortened(text: str, most_characters: int) -> str:
    """`text` itself where it is short enough; else its beginning and a hash of the whole, so that different texts stay different."""
    if len(text) <= most_characters:
        return text
    return _marked(text, text, most_characters)


def dns_label(text: str) -> str:
    """`text` itself where it is a DNS label (RFC 1123), else one made of it. Raises ValueError for an empty text."""
    if not text:
        raise ValueError("a name is empty")
    plain = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")
    if plain == text and len(plain) <= MOST_LABEL_CHARACTERS:
        return plain
    return _marked(plain, text, MOST_LABEL_CHARACTERS).lstrip("-")


def _marked(beginning: str, text: str, most_characters: int) -> str:
    mark = hashlib.sha256(text.encode()).hexdigest()[:_MARK_CHARACTERS]
    return f"{beginning[: most_characters - _MARK_CHARACTERS - 1].rstrip('-')}-{mark}"


def object_name(service: str, *parts: str) -> str:
    """The name of an object of a service in a cluster: `digits`, `digits-gateway`, `digits-stable-servers`. Parts may be empty."""
    return dns_label("-".join([dns_label(service), *(part for part in parts if part)]))


def traffic_name(service: str) -> str:
    """Of the ConfigMap that says which share of a service's requests goes to which track."""
    return object_name(service, "traffic")


def service_labels(service: str, component: str = "") -> dict[str, str]:
    """What every object of a service carries in a cluster. component: SERVER or GATEWAY; empty: it belongs to neither."""
    name = dns_label(service)
    found = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": "isthmus",
        "app.kubernetes.io/managed-by": "pulumi",
        SERVICE_LABEL: name,
    }
    return {**found, COMPONENT_LABEL: component} if component else found


def token(kind: str) -> str:
    """The type token of a resource of ours, such as `isthmus:index:LocalProcesses`."""
    return f"{PACKAGE}:index:{kind}"


def cloud_part(hybrid: str) -> str:
    """The name of a hybrid's service."""
    return f"{hybrid}-cloud"


def edge_part(hybrid: str) -> str:
    """The name of a hybrid's fleet."""
    return f"{hybrid}-edge"


def program(component: str, part: str) -> str:
    """The program of a component's part (SERVER, GATEWAY, or a device) under a local supervisor."""
    return shortened(f"{component}-{part}", MOST_PROGRAM_CHARACTERS)


def gateway_container(service: str) -> str:
    """The gateway's container on a Docker host."""
    return f"{service}-{GATEWAY}"


def model_path(model_name: str) -> str:
    """Where a model is in TensorFlow Serving's REST interface."""
    return f"/v1/models/{model_name}"
