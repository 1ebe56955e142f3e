"""The custom resources that Isthmus's own plugin serves, as a program sees them.

The other half of each is the handler of the same name in `isthmus/provider/`. Property names are the same on the wire.
Nothing here does anything: what a resource means is said in its docstring, once.
"""

from isthmus.resources.docker import DockerFiles, DockerGate, DockerModelFolder, DockerServer
from isthmus.resources.fleets import FleetRepository, FleetWave, LocalDevices
from isthmus.resources.kubernetes import CanaryGate, GatewayTraffic, KubernetesCapacity, KubernetesClaim, KubernetesMonitors
from isthmus.resources.local import LocalProcesses, LocalSupervisor, ModelFolder, RetiredVersions, ServedVersions
from isthmus.resources.stores import Bucket, LoopbackCertificate, PublishedRelease, StoreCredentials

__all__ = [
    "Bucket",
    "CanaryGate",
    "DockerFiles",
    "DockerGate",
    "DockerModelFolder",
    "DockerServer",
    "FleetRepository",
    "FleetWave",
    "GatewayTraffic",
    "KubernetesCapacity",
    "KubernetesClaim",
    "KubernetesMonitors",
    "LocalDevices",
    "LocalProcesses",
    "LocalSupervisor",
    "LoopbackCertificate",
    "ModelFolder",
    "PublishedRelease",
    "RetiredVersions",
    "ServedVersions",
    "StoreCredentials",
]
