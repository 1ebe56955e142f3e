"""The table from type token to handler."""

from collections.abc import Mapping

from isthmus.names import token
from isthmus.plugin.handler import Handler
from isthmus.provider.handlers.bucket import BucketHandler
from isthmus.provider.handlers.canary_gate import CanaryGateHandler
from isthmus.provider.handlers.docker_files import DockerFilesHandler
from isthmus.provider.handlers.docker_gate import DockerGateHandler
from isthmus.provider.handlers.docker_model_folder import DockerModelFolderHandler
from isthmus.provider.handlers.docker_server import DockerServerHandler
from isthmus.provider.handlers.fleet_repository import FleetRepositoryHandler
from isthmus.provider.handlers.fleet_wave import FleetWaveHandler
from isthmus.provider.handlers.gateway_traffic import GatewayTrafficHandler
from isthmus.provider.handlers.keys import LoopbackCertificateHandler, StoreCredentialsHandler
from isthmus.provider.handlers.kubernetes_capacity import KubernetesCapacityHandler
from isthmus.provider.handlers.kubernetes_claim import KubernetesClaimHandler
from isthmus.provider.handlers.kubernetes_monitors import KubernetesMonitorsHandler
from isthmus.provider.handlers.local_devices import LocalDevicesHandler
from isthmus.provider.handlers.local_processes import LocalProcessesHandler
from isthmus.provider.handlers.local_supervisor import LocalSupervisorHandler
from isthmus.provider.handlers.model_folder import ModelFolderHandler
from isthmus.provider.handlers.published_release import PublishedReleaseHandler
from isthmus.provider.handlers.retired import RolloutHandler, SignedBundleHandler, SigningKeyHandler
from isthmus.provider.handlers.served_versions import RetiredVersionsHandler, ServedVersionsHandler

_HANDLERS: tuple[Handler, ...] = (
    LocalSupervisorHandler(),
    LocalProcessesHandler(),
    ModelFolderHandler(),
    ServedVersionsHandler(),
    RetiredVersionsHandler(),
    StoreCredentialsHandler(),
    LoopbackCertificateHandler(),
    BucketHandler(),
    PublishedReleaseHandler(),
    DockerModelFolderHandler(),
    DockerServerHandler(),
    DockerFilesHandler(),
    DockerGateHandler(),
    FleetRepositoryHandler(),
    LocalDevicesHandler(),
    FleetWaveHandler(),
    KubernetesClaimHandler(),
    KubernetesCapacityHandler(),
    GatewayTrafficHandler(),
    CanaryGateHandler(),
    KubernetesMonitorsHandler(),
    SigningKeyHandler(),
    SignedBundleHandler(),
    RolloutHandler(),
)

HANDLERS: Mapping[str, Handler] = {token(handler.spec.name): handler for handler in _HANDLERS}
