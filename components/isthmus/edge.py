"""EdgeFleetRollout: a signed bundle brought to every device of a fleet."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Optional

import pulumi
from pulumi import Input, Output, ResourceOptions

from isthmus import compiling
from isthmus.arguments.checking import problems_of
from isthmus.arguments.components import EdgeSettings
from isthmus.arguments.fleet_file import FleetSettings, load_fleet
from isthmus.arguments.rolling import RollingArgs
from isthmus.arguments.source import SourceArgs
from isthmus.compiling import Sought, Sources
from isthmus.errors import InputError, Problem, SourceError
from isthmus.limits import ROLLOUT_DEADLINE_SECONDS
from isthmus.names import program
from isthmus.planning import fleet_plan_of, shown
from isthmus.platforms.local import desired as local
from isthmus.platforms.local.declare import LocalStack, loopback_url
from isthmus.platforms.local.settings import LocalArgs, LocalSettings
from isthmus.platforms.publishing import key_prefix
from isthmus.platforms.rules import with_platforms
from isthmus.release.manifest import EDGE, Release
from isthmus.resources import Rollout, SignedBundle, SigningKey
from isthmus.sizing.fleet import FleetPlan


class EdgeFleetRolloutArgs(SourceArgs, RollingArgs, total=False):
    """A model on a fleet of devices. fallback_url: whom a device asks when it is not sure."""

    local: Input[LocalArgs]
    fallback_url: Input[str]


@dataclass(frozen=True)
class CheckedRollout:
    """What `check` found: the arguments, the model's source, and the fleet."""

    settings: EdgeSettings
    sought: Sought
    fleet: FleetSettings


class EdgeFleetRollout(pulumi.ComponentResource):
    """A model on a fleet of devices.

    At preview the model is compiled and measured. The bundle (TFLite file, manifest, golden vectors) is signed and put
    into the store; every device fetches it, verifies it, tests itself, switches and confirms.

    Outputs:
        devices: device name → base URL of its REST server.
        digest: of the release that is rolled out.
        confirmed: names of the devices that serve it.
        attempt: number of the rollout.
        public_key: what devices verify bundles with (PEM).
        plan: what was measured, and what shipping costs a month.
    """

    devices: Output[dict[str, str]]
    digest: Output[str]
    confirmed: Output[list[str]]
    attempt: Output[int]
    public_key: Output[str]
    model_name: Output[str]
    plan: Output[dict[str, Any]]

    # Optional[...] rather than `|`: Pulumi's component analyzer reads these annotations.
    def __init__(
        self,
        name: str,
        args: EdgeFleetRolloutArgs,
        opts: Optional[ResourceOptions] = None,  # noqa: UP045
        *,
        path: str = "",
        checked: Optional[CheckedRollout] = None,  # noqa: UP045
    ) -> None:
        """checked: what `check` made of the arguments, where that was done already; path: of the arguments, for messages."""
        super().__init__("isthmus:index:EdgeFleetRollout", name, {}, opts)
        path = path or f"fleets.{name}"
        known = checked or compiling.sound(*check(name, args, path))
        settings, fleet, model_name = known.settings, known.fleet, known.sought.request.model
        judge = partial(_judged, settings, len(fleet.devices), path=path)
        made = compiling.start(self, settings, known.sought, path, judge)
        child = partial(ResourceOptions, parent=self)

        stack = LocalStack.of(settings.section(LocalSettings).directory)
        store, bucket, ready = _store(stack, settings)
        # A store of the stack's own is nobody else's; in any other the stack's keys are apart from those of others.
        prefix = f"{fleet.name}/" if settings.store is None else key_prefix(settings, fleet.name)
        key = SigningKey(f"{name}-signing-key", opts=child())
        bundle = SignedBundle(
            f"{name}-bundle",
            store=store,
            bucket=bucket,
            prefix=prefix,
            digest=made.digest(),
            cache_directory=made.cache_directory,
            private_key=key.private_key,
            check_at_preview=settings.store is not None,
            opts=child(depends_on=ready),
        )
        told = Output.all(store, bucket, key.public_key, settings.fallback_url or "")
        stack.claim({f"{name}, device {device.name}": device.port for device in fleet.devices})
        agents = {
            device.name: stack.processes(
                f"{name}-{device.name}",
                local.agent(program(name, device.name), device.port),
                apart={"files": told.apply(partial(_agent_files, settings, fleet.name, device.name, model_name, prefix=prefix))},
                parent=self,
                depends_on=ready,
            )
            for device in fleet.devices
        }
        rollout = Rollout(
            f"{name}-rollout",
            store=store,
            bucket=bucket,
            prefix=prefix,
            fleet=fleet.name,
            devices=[device.name for device in fleet.devices],
            digest=bundle.digest,
            private_key=key.private_key,
            deadline_seconds=round(min(settings.gate.deadline_seconds, ROLLOUT_DEADLINE_SECONDS.most)),
            opts=child(depends_on=[bundle, *agents.values()]),
        )
        self.devices = Output.all(**{device: loopback_url(agent.endpoints) for device, agent in agents.items()})
        self.digest = made.digest()
        self.confirmed, self.attempt = rollout.confirmed, rollout.attempt
        self.public_key = key.public_key
        self.model_name = Output.from_input(model_name)
        self.plan = Output.all(made.plan, made.release).apply(lambda both: shown(both[0], both[1], EDGE))
        outputs = ("devices", "digest", "confirmed", "attempt", "public_key", "model_name", "plan")
        self.register_outputs({output: getattr(self, output) for output in outputs})


def check(name: str, args: object, path: str, sources: Sources | None = None) -> tuple[CheckedRollout | None, list[Problem]]:
    """The checked arguments, and everything that can be seen to be wrong before anything is built. sources: that were found already."""
    settings, problems = problems_of(with_platforms(EdgeSettings), args, path)
    if settings is None:
        return None, problems
    sought = (sources or Sources()).find(settings, settings.model_name or name, path)
    problems = [*problems, *sought.problems]
    try:
        return CheckedRollout(settings, sought, load_fleet(settings.fleet, Path.cwd(), f"{path}.fleet")), problems
    except InputError as error:
        return None, [*problems, *error.problems]


def _judged(args: EdgeSettings, devices: int, release: Release, path: str) -> tuple[FleetPlan, str]:
    if not release.manifest.has(EDGE):  # one that is named by its digest
        what = f"release {release.digest} was compiled for servers alone, and devices need an edge variant (.tflite)"
        fix = "compile the model with another recipe, or serve the release with CloudModelService"
        raise SourceError([Problem(f"{path}.model", what, "a release with an edge variant", fix)])
    plan = fleet_plan_of(args, devices, release, path)
    return plan, f"{compiling.describe(release, EDGE)}\n{plan.explain()}"


def _store(stack: LocalStack, args: EdgeSettings) -> tuple[dict[str, pulumi.Input[str]], pulumi.Input[str], list[pulumi.Resource]]:
    """Address, bucket, and what must exist first: the user's own store, or the one of the local stack."""
    if args.store is None:
        bucket = stack.bucket(args.bucket)
        address, server = stack.store
        return address, bucket.bucket, [server, bucket]
    given = {key: getattr(args.store, key) for key in ("endpoint", "region", "access_key", "secret_key")}
    return {**given, **{key: Output.secret(given[key]) for key in ("access_key", "secret_key")}}, args.bucket, []


def _agent_files(args: EdgeSettings, fleet: str, device: str, model_name: str, told: list[Any], *, prefix: str) -> dict[str, str]:
    """One device's files, once store address, bucket, public key and fallback are known."""
    store, bucket, public_key, fallback_url = told
    config = local.DeviceConfig(
        device=device,
        fleet=fleet,
        model_name=model_name,
        store=store,
        bucket=bucket,
        prefix=prefix,
        public_key=public_key,
        fallback_url=fallback_url,
        min_confidence=args.min_confidence,
        fallback_timeout_ms=args.fallback_timeout_ms,
    )
    return local.agent_files(config)
