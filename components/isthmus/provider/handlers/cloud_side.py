"""The cloud role that goes over to a release together with a fleet: what a rollout waits for there, and what an abort takes back.

On this machine it is a `ServedVersions`, in a cluster the split of a canary (`GatewayTraffic`).
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from isthmus.errors import IsthmusError, PlatformError
from isthmus.names import STABLE
from isthmus.plugin.handler import Context, Values, describe
from isthmus.plugin.schema import Property
from isthmus.provider.clusters.shifting import shift
from isthmus.provider.clusters.traffic import Traffic
from isthmus.provider.clusters.traffic import describe as described
from isthmus.provider.handlers.clusters import traffic_map
from isthmus.provider.handlers.served_versions import PLACE as PLACE_OF_VERSIONS
from isthmus.provider.handlers.served_versions import withdraw

if TYPE_CHECKING:
    from isthmus.rollouts.stopping import RolloutStoppedError

_KUBECONFIG: Final = "kubeconfig"
INPUTS: Final[Mapping[str, Property]] = {
    "cloud_versions": Property(
        "object",
        "the ServedVersions of the same release, from which an abort takes it back",
        required=False,
        compared=False,
        fields={name: Property("string", it.description) for name, it in PLACE_OF_VERSIONS.items()},
    ),
    "cloud_split": Property(
        "object",
        "the split of the same release's canary, which an abort takes back; while it was taken back, no wave is opened",
        required=False,
        compared=False,
        fields={
            "namespace": Property("string", "the service's namespace"),
            "service": Property("string", "the service's name"),
            "owner": Property("string", "as of CanaryGate"),
            "digest": Property("string", "the canary's release"),
            "context": Property("string", "as of CanaryGate", required=False),
            _KUBECONFIG: Property("string", "as of CanaryGate", required=False, secret=True),
        },
    ),
}
"""Of a `FleetWave`: where the same release is in the cloud role; without either the fleet goes alone."""


def ensure_stands(inputs: Values, context: Context) -> None:
    """Raises PlatformError where the cloud role has taken the release back: the fleet holds, then."""
    split = inputs.get("cloud_split")
    if split is None:
        return
    traffic = traffic_map(split, context).read_or_fail()
    if traffic.digest == split["digest"] and traffic.verdict == "rolled_back":
        why = "; ".join(traffic.reasons)
        fix = "bring another canary, or change `canary_gate`, which begins anew with this one"
        raise PlatformError(
            f"cloud side: the canary was rolled back ({why}), so that the fleet holds: this wave is not opened, and the cloud role answers "
            f"with the version before. Fix: {fix}"
        )


def after_stop(error: "RolloutStoppedError", inputs: Values, context: Context) -> Iterator[str]:
    """What becomes of the same release in the cloud role: an abort takes it back there, a pause holds what there is. In words."""
    from isthmus.rollouts.stopping import RolloutAbortedError

    versions, split = inputs.get("cloud_versions"), inputs.get("cloud_split")
    if versions is None and split is None:
        return
    if not isinstance(error, RolloutAbortedError):
        yield "the cloud role holds as well: it has the version before beside this one until the last wave has passed"
        return
    # Under a context of its own: what devices go back to has to be there, also after a Ctrl-C.
    context = Context(context.urn, secrets=context.secrets, progress=context.progress)
    try:
        yield withdraw(versions, context) if versions is not None else _take_back(split, context)
    except (IsthmusError, OSError) as failed:
        yield f"the cloud role has not taken it back: {describe(failed)}. Fix: bring the release of before (`pulumi up`)"


def _take_back(split: Any, context: Context) -> str:
    found = traffic_map(split, context)
    traffic = found.read_or_fail()
    if traffic.digest != split["digest"] or not traffic.canary_percent:
        return f"the cloud role is not on it ({described(traffic)}), and stays as it is"

    def change(old: Traffic) -> Traffic:
        return old.split(0, 0, "rolled_back", old.digest, ("the fleet's rollout of the same release was aborted",))

    shift(found, context, STABLE, change)
    return "the cloud role has taken its canary back too, and answers with the version before"
