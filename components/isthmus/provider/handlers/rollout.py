"""Rollout: the devices of a fleet brought to a release."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from isthmus.errors import IntegrityError, IsthmusError, PlatformError, Problem, StoreError
from isthmus.fleet.verdict import Verdict, judge
from isthmus.limits import ROLLOUT_DEADLINE_SECONDS
from isthmus.plugin.claims import Claims
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, PartlyMadeError, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties, is_known
from isthmus.provider.handlers.owners import OWNER_UNCOMPARED, own_names, owner
from isthmus.provider.handlers.releases import digest_problems
from isthmus.provider.handlers.stores import (
    BUCKET,
    PREFIX,
    STORE,
    address_problems,
    gone_with_its_store,
    mark,
    marked,
    open_store,
    prefix_problems,
)
from isthmus.release.names import DEVICE, bundle_folder

if TYPE_CHECKING:
    from isthmus.release.fleet import Target
    from isthmus.release.store import Store

_POLL_SECONDS: Final = 0.5


class RolloutHandler(HandlerBase):
    spec = ResourceSpec(
        name="Rollout",
        description="Devices of a fleet brought to a release: signs the fleet's target, then waits until every device confirms it.",
        inputs={
            "store": STORE,
            "bucket": BUCKET,
            # Changed in place: the attempts of a fleet are counted on, and its devices follow no smaller number.
            "prefix": replace(PREFIX, replaces=False),
            "fleet": Property("string", "the fleet's name", replaces=True),
            "devices": Property("array", "names of the devices", items=Property("string", "a device's name")),
            "digest": Property("string", "the release's digest"),
            "private_key": Property("string", "the signing key, PEM", secret=True),
            "owner": OWNER_UNCOMPARED,
            "deadline_seconds": Property.of(ROLLOUT_DEADLINE_SECONDS),
        },
        outputs={
            "attempt": Property("integer", "the number of the target, one more for every target of the fleet"),
            "confirmed": Property("array", "names of the devices that serve the digest", items=Property("string", "a device's name")),
        },
    )

    def __init__(self) -> None:
        self._claims = Claims()

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        found = [*address_problems(inputs), *prefix_problems(inputs), *digest_problems(inputs), *_device_problems(inputs)]
        return found or self._claimed(inputs, context)

    def _claimed(self, inputs: Values, context: Context) -> Sequence[Problem]:
        """One target lies below a prefix: of two fleets of one program each would be told what the other's devices shall serve."""
        from isthmus.release.store import normal_endpoint

        place = (inputs["store"].get("endpoint") if isinstance(inputs["store"], dict) else UNKNOWN, inputs["bucket"], inputs["prefix"])
        if not is_known(list(place)):
            return ()
        taken = self._claims.taken(context.urn, [(normal_endpoint(str(place[0])), *place[1:])])
        what = "is that of {} as well, and a prefix has one target"
        return [Problem("prefix", what.format(other), "a prefix of its own for each fleet") for other in taken.values()]

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = compare(self.spec, old_inputs, inputs)
        devices = inputs["devices"]
        if not changes and isinstance(devices, list) and not set(devices) <= set(state.get("confirmed", ())):
            changes.append(Change(("confirmed",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        # An update that succeeds ends with every device; one that does not, ends with an error.
        return {"attempt": UNKNOWN, "confirmed": inputs["devices"]}

    def create(self, inputs: Values, context: Context) -> Created:
        id = f"{inputs['bucket']}/{inputs['prefix']}{inputs['fleet']}"
        return Created(id, self._roll_out(inputs, {}, id, context))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        outputs = self._roll_out(inputs, state, id, context)
        # Nobody looks there any more, unless another fleet of the stack's has been brought there since.
        if state["prefix"] != inputs["prefix"] and self.marked(id, state, context) in {"", context.making}:
            self.delete(id, state, context)
        return outputs

    def _roll_out(self, inputs: Values, state: Values, id: str, context: Context) -> Properties:
        """state: of the last update; empty: there was none."""
        from isthmus.release import fleet, owners

        store, prefix = open_store(inputs), inputs["prefix"]
        owners.claim(store, prefix, owner(inputs, context), owner(state, context) if state else "")
        model = _published_model(store, inputs)
        tag = fleet.target_tag(store, prefix)
        attempt = _next_attempt(store, inputs, int(state.get("attempt") or 0))
        target = fleet.Target(inputs["fleet"], attempt, inputs["digest"], model)
        if not fleet.publish_target(store, prefix, target, inputs["private_key"], tag):
            raise PlatformError(f"somebody else rolls out fleet {target.fleet!r} now, and nothing was changed. Fix: `pulumi up` later")
        verdict = judge(target.digest, target.attempt, inputs["devices"], {})
        try:
            verdict = self._await_devices(store, target, inputs, context)
            failures = verdict.failures(inputs["deadline_seconds"])
        except IsthmusError as error:  # the target is out, whatever happens to the waiting
            failures = [str(error)]
        outputs = {"attempt": target.attempt, "confirmed": list(verdict.confirmed)}
        if failures:
            raise PartlyMadeError(failures, outputs, id)
        return outputs

    def _await_devices(self, store: "Store", target: "Target", inputs: Values, context: Context) -> Verdict:
        from isthmus.release.fleet import read_reports
        from isthmus.release.store import UnreachableStoreError

        deadline = time.monotonic() + inputs["deadline_seconds"]
        shown = ""
        while True:
            try:
                reports = read_reports(store, inputs["prefix"], inputs["devices"])
            except UnreachableStoreError:
                if time.monotonic() > deadline:
                    raise
                context.pause(_POLL_SECONDS)
                continue
            _ensure_newest(store, target, inputs)
            own = {device: report for device, report in reports.items() if report.fleet == target.fleet}
            verdict = judge(target.digest, target.attempt, inputs["devices"], own)
            if verdict.is_final or time.monotonic() > deadline:
                return verdict
            if verdict.progress() != shown:
                shown = verdict.progress()
                context.progress(shown)
            context.pause(_POLL_SECONDS)

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("Rollout", "the signing key is not part of its id")
        with gone_with_its_store(inputs):
            return self._found(state, inputs)
        return None

    def _found(self, state: Values, inputs: Values) -> Found | None:
        from isthmus.release import fleet, signing

        store = open_store(inputs)
        try:
            target = fleet.read_target(store, inputs["prefix"], signing.public_key(inputs["private_key"]))
        except IntegrityError:  # somebody else's: no device of ours obeys it
            return Found(dict(inputs), {"attempt": state.get("attempt", 0), "confirmed": []})
        if target is None:
            return None
        reports = fleet.read_reports(store, inputs["prefix"], inputs["devices"])
        confirmed = [device for device in inputs["devices"] if device in reports and reports[device].confirms(target)]
        return Found({**inputs, "digest": target.digest}, {"attempt": target.attempt, "confirmed": confirmed})

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        from isthmus.release import fleet

        mark(inputs, fleet.making_key(inputs["prefix"]), context)

    def marked(self, id: str, state: Values, context: Context) -> str:
        from isthmus.release import fleet

        return marked(state, fleet.making_key(state["prefix"]))

    def delete(self, id: str, state: Values, context: Context) -> None:
        from isthmus.release import fleet, owners

        with gone_with_its_store(state):
            store, prefix = open_store(state), state["prefix"]
            owners.ensure_own(store, prefix, own_names(state, context))
            fleet.remove_target(store, prefix)
            owners.give_up(store, prefix)


def _ensure_newest(store: "Store", target: "Target", inputs: Values) -> None:
    """Raises PlatformError where the fleet has another target by now: nobody will confirm this one."""
    from isthmus.release import fleet, signing

    try:
        now = fleet.read_target(store, inputs["prefix"], signing.public_key(inputs["private_key"]))
    except (IntegrityError, StoreError):
        return
    if now is not None and now != target and now.attempt >= target.attempt:
        raise PlatformError(f"somebody else rolled out attempt {now.attempt}, {now.digest}, after attempt {target.attempt} of this update")


def _device_problems(inputs: Values) -> list[Problem]:
    devices = inputs["devices"]
    if devices is UNKNOWN:
        return []
    if not devices:
        return [Problem("devices", "is empty", "at least one device")]
    found = []
    for index, device in enumerate(devices):
        if device is UNKNOWN:
            continue
        if not DEVICE.fullmatch(device):
            found.append(Problem(f"devices[{index}]", f"is {device!r}", "letters, digits, `.`, `_` and `-`, not first, 128 at most"))
        elif device in devices[:index]:
            found.append(Problem(f"devices[{index}]", f"{device!r} is named twice", "each device once"))
    return found


def _next_attempt(store: "Store", inputs: Values, last_attempt: int) -> int:
    """One more than any target that the fleet was given, also one that the state does not know of."""
    from isthmus.release import fleet, signing

    try:
        target = fleet.read_target(store, inputs["prefix"], signing.public_key(inputs["private_key"]))
    except IntegrityError:
        target = None
    answered = [report.attempt for report in fleet.read_reports(store, inputs["prefix"], inputs["devices"]).values()]
    answered = [attempt for attempt in answered if attempt <= fleet.BELIEVED_ATTEMPTS]
    return max([last_attempt, target.attempt if target else 0, *answered]) + 1


def _published_model(store: "Store", inputs: Values) -> str:
    """The name of the model whose bundle is in the store. Raises StoreError where no device could fetch it."""
    from isthmus.release import signing
    from isthmus.release.bundle import ENVELOPE_NAME, MANIFEST_TYPE, MAX_ENVELOPE_BYTES
    from isthmus.release.manifest import Manifest
    from isthmus.release.store import MissingObjectError

    key = f"{bundle_folder(inputs['prefix'], inputs['digest'])}{ENVELOPE_NAME}"
    try:
        envelope = store.get(key, max_bytes=MAX_ENVELOPE_BYTES)
        payload = signing.verify(envelope, MANIFEST_TYPE, signing.public_key(inputs["private_key"]))
    except MissingObjectError as error:
        raise StoreError(f"the bundle of {inputs['digest']} is not in the store: {error}") from error
    return Manifest.from_bytes(payload).model
