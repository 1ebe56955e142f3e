"""FleetWave: a release brought to one wave of a fleet, and to those before it, each closed by its gate."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from isthmus.errors import InputError, Problem, property_path
from isthmus.limits import FLEET_GATE, FLEET_WAVE
from isthmus.names import WAVE_PASSED
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, PartlyMadeError, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties
from isthmus.provider.handlers import cloud_side
from isthmus.provider.handlers.fleets import PLACE, fleet_of
from isthmus.provider.handlers.releases import digest_problems, find_release
from isthmus.provider.handlers.stores import address_problems, gone_with_its_store, prefix_problems
from isthmus_agent.formats import bundle, halves, policy, samples_wanted
from isthmus_agent.formats.contents import ANY_CLASS, Variant
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.turns import Budget
from isthmus_agent.formats.window import Window

if TYPE_CHECKING:
    from isthmus.rollouts.contents import Make
    from isthmus.rollouts.intent import Fleet, Intent
    from isthmus.rollouts.standing import Standing

SUPERSEDED: Final = "superseded"
"""By something else that the fleet is told."""
_TEXT: Final = Property("string", "a value")
_GATE: Final = Property(
    "object",
    "what the wave has to keep",
    default={},
    fields={
        **{name: Property.of(limit) for name, limit in FLEET_GATE.items()},
        "when_unclear": Property("string", "pause or pass", required=False),
    },
)
_WAVE: Final = Property(
    "object",
    "one wave",
    fields={
        "name": Property("string", "its name", required=False),
        "percent": Property("number", "of the devices that its selector fits, with those of waves before it", required=False),
        "count": Property("integer", "as percent, in devices", required=False),
        "group": Property("string", "the label `group`", required=False),
        "labels": Property("object", "labels that a device must have", required=False, items=_TEXT),
        "devices": Property("array", "devices by name", required=False, items=_TEXT),
        "gate": _GATE,
        "most_per_minute": Property.of(FLEET_WAVE["most_per_minute"]),
    },
)


class FleetWaveHandler(HandlerBase):
    spec = ResourceSpec(
        name="FleetWave",
        description="A release on a wave of a fleet and on those before it, each opened when the gate of the one before it has passed.",
        inputs={
            **PLACE,
            "releases": Property(
                "object", "the release's digest by class of devices; `*`: of every other", items=Property("string", "a digest")
            ),
            "min_confidence": Property(
                "object",
                "by class, below which confidence a device asks the cloud role, if it is told to go by its bundle",
                required=False,
                items=Property("number", "see `bundle.MIN_CONFIDENCE`", minimum=0, maximum=1),
            ),
            "policies": Property(
                "object",
                "by class, where a device that may ask the cloud role has requests answered first",
                required=False,
                items=Property("string", "see `bundle.POLICY`"),
            ),
            "groups": Property(
                "object",
                "by class, how its devices answer together",
                required=False,
                items=Property(
                    "object",
                    "see `bundle.GROUP`",
                    fields={
                        bundle.GROUP_FILE: Property("string", "the text of the group's file"),
                        bundle.WAIT_MS: Property("integer", "for others, where a request has no deadline"),
                    },
                ),
            ),
            "halves": Property(
                "object",
                "by class, how a device that may ask the cloud role runs the first half of the network alone",
                required=False,
                items=Property("string", "see `bundle.HALVES`"),
            ),
            "cache_directory": Property("string", "where this machine keeps releases", compared=False),
            "waves": Property("array", "all waves of the rollout", items=_WAVE),
            "wave": Property("integer", "the index of this one", minimum=0),
            "probation": Property(
                "object",
                "what the release must show on a device before it counts as confirmed",
                default={},
                fields={it.name: Property("integer", "see Probation", required=False) for it in fields(Probation)},
            ),
            "window": Property(
                "object",
                "when devices may change what they serve",
                required=False,
                fields={it.name: Property("integer", "see Window", required=False) for it in fields(Window)},
            ),
            "budget": Property(
                "object",
                "how many devices with one value of a label may be updated at once",
                required=False,
                fields={
                    "label": Property("string", "the label's name"),
                    "most_devices": Property("integer", "see Budget", required=False),
                    "most_millionths": Property("integer", "see Budget", required=False),
                },
            ),
            "encrypt": Property("boolean", "whether bundles and deltas are sealed with the fleet's content key", default=False),
            "samples": Property(
                "object",
                "what the owner wants of what devices are asked; without it nothing leaves them",
                required=False,
                fields={
                    "owner_key": Property("string", "x25519:BASE64, which samples are encrypted to"),
                    **{it: Property("integer", "see SamplesWanted") for it in ("share_millionths", "most_per_day", "most_bytes")},
                    "labels": Property("object", "labels that a device must have", default={}, items=_TEXT),
                },
            ),
            "counts": Property("boolean", "whether devices tell how often their network and load went from level to level", default=False),
            **cloud_side.INPUTS,
            "wait": Property("boolean", "whether an update waits for the gate", default=True, compared=False),
        },
        outputs={
            "name": Property("string", "the wave's name"),
            "number": Property("integer", "of the assignment that the devices follow, one more for every one of the fleet"),
            "outcome": Property(
                "string", "of the wave: passed, waiting, closed, paused, aborted, or superseded by something else that the fleet is told"
            ),
            "confirmed": Property("integer", "devices of the wave that serve the release, and have for as long as the gate asks"),
            "contents": Property("object", "the digest of what devices keep, by class", items=Property("string", "a digest")),
        },
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        found = [*address_problems(inputs), *prefix_problems(inputs), *_release_problems(inputs["releases"]), *_bundled_problems(inputs)]
        waves, wave = inputs["waves"], inputs["wave"]
        if isinstance(waves, list) and wave is not UNKNOWN and wave >= len(waves):
            found.append(Problem("wave", f"is {wave}", f"0 to {len(waves) - 1}, which is how many waves there are"))
        return found

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = compare(self.spec, old_inputs, inputs)
        if not changes and state.get("outcome") != WAVE_PASSED:
            changes.append(Change(("outcome",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        # An update that waits and succeeds ends with a gate that passed; one that does not, ends with an error.
        return {**dict.fromkeys(self.spec.outputs, UNKNOWN), "outcome": WAVE_PASSED if inputs["wait"] is True else UNKNOWN}

    def create(self, inputs: Values, context: Context) -> Created:
        id = f"{inputs['bucket']}/{inputs['prefix']}{inputs['fleet']}/{inputs['wave']}"
        return Created(id, self._bring(inputs, id, context))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return self._bring(inputs, id, context)

    def _bring(self, inputs: Values, id: str, context: Context) -> Properties:
        from isthmus.rollouts.bringing import bring
        from isthmus.rollouts.stopping import RolloutStoppedError

        cloud_side.ensure_stands(inputs, context)
        fleet = fleet_of(inputs)
        intent = _intent(inputs, fleet.make, fleet.content_key if inputs["encrypt"] else None)
        try:
            standing = bring(fleet, intent, inputs["wave"], wait=inputs["wait"], progress=context.progress, pause=context.pause)
        except RolloutStoppedError as error:
            reasons = [str(error), *cloud_side.after_stop(error, inputs, context)]
            raise PartlyMadeError(reasons, _outputs(error.standing, inputs["wave"]), id) from error
        return _outputs(standing, inputs["wave"])

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("FleetWave", "the folder of the fleet's keys is not part of its id")
        from isthmus.rollouts.looking import read_signed

        with gone_with_its_store(inputs):
            try:
                fleet = fleet_of(inputs, reads_reports=False)
            except InputError:  # its key ring is not on this machine: what the fleet is told cannot be checked
                return Found(dict(inputs), _outputs_of(state))
            told = read_signed(fleet).told
            if told is None:
                return None
            is_ours = told.open_waves > inputs["wave"] and state.get("contents") == _contents(told.variants)
            is_ours = is_ours and _is_sealed_as_wanted(told.variants, fleet, encrypt=bool(inputs.get("encrypt")))
            return Found(dict(inputs), _outputs_of(state) | ({} if is_ours else {"number": told.number, "outcome": SUPERSEDED}))
        return None

    def delete(self, id: str, state: Values, context: Context) -> None:
        """Nothing is taken back: what devices are told goes with the repository."""


def _outputs_of(state: Values) -> Properties:
    return {name: state.get(name) for name in FleetWaveHandler.spec.outputs}


def _outputs(standing: "Standing", wave: int) -> Properties:
    its = standing.waves[wave] if wave < len(standing.waves) else standing.waves[-1]
    return {
        "name": its.name,
        "number": standing.number,
        "outcome": its.state,
        "confirmed": len(its.tally.confirmed) if its.tally else 0,
        "contents": _contents(standing.contents),
    }


def _contents(variants: Iterable[Variant]) -> Properties:
    return {it.device_class: it.digest for it in variants}


def _is_sealed_as_wanted(variants: Iterable[Variant], fleet: "Fleet", *, encrypt: bool) -> bool:
    """Whether contents are sealed with the key of the fleet's secret of now; where that is not here: whether they are at all."""
    from isthmus.repository import roster
    from isthmus_agent.formats.sealed_contents import content_key, key_name

    names = {it.key for it in variants}
    if not encrypt:
        return names == {None}
    try:
        secret, _ = roster.secret_at_hand(fleet.name, fleet.keyring.folder)
    except InputError:
        secret = None
    return None not in names if secret is None else names == {key_name(content_key(secret, fleet.name))}


def _release_problems(releases: Any) -> Iterator[Problem]:
    from isthmus_agent.formats import numbers

    if not isinstance(releases, Mapping):
        return
    if not releases:
        yield Problem("releases", "is empty", "a digest for each class of devices")
    for name, digest in releases.items():
        where = property_path((name,), "releases")
        try:
            numbers.device_class(name, "")
        except FormatError as error:
            yield Problem(where, str(error))
        yield from digest_problems({"digest": digest}, where)


def _bundled_problems(inputs: Values) -> Iterator[Problem]:
    """Policies and groups that devices would refuse: a bundle with one would be unfit."""
    releases = inputs["releases"]
    for argument, what, kind, read in _BUNDLED:
        given = inputs.get(argument)
        for name, said in given.items() if isinstance(releases, Mapping) and isinstance(given, Mapping) else ():
            where = property_path((name,), argument)
            if name not in releases:
                yield Problem(where, "there is no release for this class", " or ".join(releases))
            elif isinstance(said, kind) and isinstance(releases[name], str):
                try:
                    read(said, releases[name])
                except FormatError as error:
                    yield Problem(where, str(error), f"a {what} for the class's release")


# Argument, what it has by class, as which type, and how devices read it. What is not known yet is of no type.
_BUNDLED: Final[tuple[tuple[str, str, type, Callable[[Any, str], object]], ...]] = (
    ("policies", "policy", str, lambda said, release: policy.from_json(said.encode(), release)),
    ("halves", "description of the halves", str, lambda said, release: halves.from_json(said.encode(), release)),
    ("groups", "group", Mapping, bundle.signed_group),
)


def _intent(inputs: Values, make: "Make", key: bytes | None) -> "Intent":
    """What a program wants of the fleet. key: that contents are sealed with. Raises InputError."""
    from isthmus.fleet.gates import Gate
    from isthmus.fleet.waves import Wave
    from isthmus.rollouts.contents import contents_of
    from isthmus.rollouts.intent import Intent

    # Devices take the first that fits them.
    ordered = sorted(inputs["releases"].items(), key=lambda it: (it[0] == ANY_CLASS, it[0]))
    releases = {name: find_release({**inputs, "digest": digest}) for name, digest in ordered}
    arguments = {bundle.MIN_CONFIDENCE: "min_confidence", bundle.POLICY: "policies", bundle.GROUP: "groups", bundle.HALVES: "halves"}
    said = {value: inputs.get(argument) or {} for value, argument in arguments.items()}
    gate_values = {name: {value: its[name] for value, its in said.items() if name in its} for name in releases}
    variants, files = contents_of(releases, inputs["fleet"], gate_values, make=make, key=key)
    waves = [Wave(**{name: value for name, value in it.items() if name != "gate"}) for it in inputs["waves"]]
    gates = [Gate(**it["gate"]) for it in inputs["waves"]]
    window = None if inputs.get("window") is None else Window(**inputs["window"])
    samples = None if inputs.get("samples") is None else samples_wanted.from_value(inputs["samples"], "samples")
    budget = None if inputs.get("budget") is None else Budget(**inputs["budget"])
    return Intent(variants, files, waves, gates, Probation(**inputs["probation"]), window, samples, budget, inputs["counts"])
