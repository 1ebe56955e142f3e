"""What a server asks its node for."""

import math
from dataclasses import dataclass

# One replica of the plan is one server in the sense of queueing theory: it is busy for the measured service time of each
# request, and that was measured on one request at a time. So it needs one core at full load, and the utilisation that the
# planner allows is the share of the request that the autoscaler aims at.
CPU_MILLIS = 1000
# Measured with the embedded server, which is TensorFlow and Python (resident, without shared libraries' pages): 248 MiB
# and 1.02 bytes for each byte of a SavedModel of 1, 96 and 382 MiB; with those pages 620 MiB + 1.01. Pages of files can be
# dropped, so 512 MiB hold it; the second copy is for reading while loading, and for requests.
BASE_MIB = 512
COPIES_OF_THE_MODEL = 2
ROUND_TO_MIB = 64
VOLUME_MARGIN = 1.05
VOLUME_SPARE_MIB = 16

MIB = 1024 * 1024


def mebibytes(count: int) -> str:
    """As Kubernetes itself would write it: `512Mi`, `1Gi`. What it rewrites would show as a change for ever."""
    return f"{count // 1024}Gi" if count and count % 1024 == 0 else f"{count}Mi"


def millis(count: int) -> str:
    """Thousandths of a core, as Kubernetes itself would write them: `250m`, `1`."""
    return str(count // 1000) if count % 1000 == 0 else f"{count}m"


@dataclass(frozen=True)
class Resources:
    """What one container requests. Memory is also its limit; CPU has none.

    A CPU limit is enforced by stopping the container for the rest of each 100 ms period: with more threads than the limit
    has cores, requests that would have taken 5 ms take 100, and the p95 that the plan is for is lost while the node idles. Memory
    beyond the request would be taken from neighbours, and be taken back by killing: so the limit is the request.
    """

    cpu_millis: int = CPU_MILLIS
    memory_mib: int = BASE_MIB

    @property
    def cores(self) -> int:
        """Whole cores, at least one."""
        return max(1, math.ceil(self.cpu_millis / 1000))


def server_resources(model_bytes: int, *, cpu_millis: int | None = None, memory_mib: int | None = None) -> Resources:
    """What a server of a SavedModel of that size requests; given figures are kept.

    cpu: one core (CPU_MILLIS). memory: BASE_MIB and the model twice, rounded up to ROUND_TO_MIB.
    """
    needed = BASE_MIB + COPIES_OF_THE_MODEL * model_bytes / MIB
    return Resources(cpu_millis or CPU_MILLIS, memory_mib or math.ceil(needed / ROUND_TO_MIB) * ROUND_TO_MIB)


def volume_mib(release_bytes: int) -> int:
    """Size of the folder that a release is fetched to: files fill whole blocks, so a little more than their bytes."""
    return math.ceil(release_bytes * VOLUME_MARGIN / MIB) + VOLUME_SPARE_MIB
