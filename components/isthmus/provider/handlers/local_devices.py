"""LocalDevices: devices of a fleet that run on this machine, enrolled as any other device is."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from isthmus.errors import InputError, PlatformError, Problem, StoreError
from isthmus.limits import FLEET_DEVICES
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties, is_known
from isthmus.provider.handlers.fleets import PLACE, keyring_of, place_of
from isthmus.provider.handlers.stores import address_problems, gone_with_its_store, prefix_problems
from isthmus.provider.local import identities
from isthmus.provider.local.enrolled import enrolment_in, is_of_another_secret, mark_of
from isthmus.provider.local.identities import IdentitiesFile

if TYPE_CHECKING:
    from isthmus.provider.local import enrolling
    from isthmus.repository.keyring import Keyring
    from isthmus.repository.objects import Place
    from isthmus.repository.wanted import Wanted
    from isthmus_agent.formats.roster import Roster

MAKING_FILE: Final = ".making"
ACCEPTED_SECONDS: Final = 30


class LocalDevicesHandler(HandlerBase):
    spec = ResourceSpec(
        name="LocalDevices",
        description="Devices of a fleet that run on this machine: each is enrolled with a token of its own, and keeps what it is there.",
        inputs={
            **PLACE,
            "directory": Property("string", "the folder of the devices' folders", replaces=True),
            "devices": Property(
                "array",
                "the devices",
                items=Property(
                    "object",
                    "one device",
                    fields={
                        "name": Property("string", "its name"),
                        "class": Property("string", "its class"),
                        "labels": Property("object", "its labels", default={}, items=Property("string", "a value")),
                    },
                ),
            ),
            "identities": Property(
                "object",
                "a store of this machine whose identities are ours to write",
                required=False,
                fields={
                    "supervisor": Property("string", "the folder of its LocalSupervisor"),
                    "program": Property("string", "its program there"),
                },
            ),
            "samples": Property(
                "object",
                "devices that may write samples of what they are asked; without it none may",
                required=False,
                fields={"labels": Property("object", "labels that they have", default={}, items=Property("string", "a value"))},
            ),
            "access": Property(
                "object",
                "credentials in any other store, which let a device read the repository and write reports",
                required=False,
                fields={
                    "access_key": Property("string", "the access key", secret=True),
                    "secret_key": Property("string", "the secret key", secret=True),
                },
            ),
        },
        outputs={
            "folders": Property("object", "the folder of each device", items=Property("string", "a path")),
            "marks": Property("object", "another text for each device whenever it was enrolled anew", items=Property("string", "a text")),
        },
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        found = [*address_problems(inputs), *prefix_problems(inputs)]
        if inputs.get("identities") is None and inputs.get("access") is None:
            what = "nobody says by which credentials the devices reach the store"
            found.append(Problem("access", what, "access_key and secret_key", "isthmus fleet access shows what they have to allow"))
        return [*found, *_device_problems(inputs["devices"])]

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = compare(self.spec, old_inputs, inputs)
        if not changes and _lacking(inputs, state):
            changes.append(Change(("marks",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        if not is_known([inputs["directory"], inputs["devices"]]):
            return {"folders": UNKNOWN, "marks": UNKNOWN}
        folders = {name: str(folder) for name, folder in _folders(inputs).items()}
        same = state is not None and not compare(self.spec, state, inputs) and not _lacking(inputs, state)
        return {"folders": folders, "marks": state["marks"] if state is not None and same else UNKNOWN}

    def create(self, inputs: Values, context: Context) -> Created:
        return Created(inputs["directory"], self._bring(inputs, {}, context))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return self._bring(inputs, state, context)

    def _bring(self, inputs: Values, state: Values, context: Context) -> Properties:
        from isthmus.provider.local import enrolling
        from isthmus.repository import enrolment

        place, keyring, fleet = place_of(inputs), keyring_of(inputs), inputs["fleet"]
        wanted, folders = _wanted(inputs), _folders(inputs)
        here = enrolling.Here(place, keyring, fleet, _url(inputs), str(inputs["store"].get("region") or ""), folders)
        roster = enrolment.settle(place, keyring, fleet).roster
        missing = [it for it in wanted if not enrolling.is_enrolled(here, it, roster, _secret(inputs))]
        for number, device in enumerate(missing, 1):
            context.progress(f"enrolling {device.name} ({number} of {len(missing)})")
            enrolling.enrol_here(here, device, roster, _access(inputs))
        roster = enrolment.settle(place, keyring, fleet).roster if missing else roster
        if former := _former(state, {it.name for it in wanted}):
            roster = _without(place, keyring, fleet, former)
            _remove(Path(state["directory"]), former)
        self._let_in(inputs, roster, wanted, context)
        return {
            "folders": {name: str(folder) for name, folder in folders.items()},
            "marks": {name: mark_of(folder) for name, folder in folders.items()},
        }

    def _let_in(self, inputs: Values, roster: "Roster", devices: Sequence["Wanted"], context: Context) -> None:
        """Makes the store know the devices, where that is ours to do, and waits until it does."""
        from isthmus.provider.local import enrolling

        is_ours = _write_identities(inputs, roster)
        for device in devices:
            it = enrolment_in(_folders(inputs)[device.name])
            asked = enrolling.own_store(inputs["store"], inputs["bucket"], it.access_key, it.secret_key)
            key = place_of(inputs).timestamp_key

            def is_let_in(asked: Any = asked, key: str = key) -> bool:
                try:
                    return bool(asked.tag(key))
                except StoreError:
                    return False

            if not context.wait_until(is_let_in, ACCEPTED_SECONDS, f"waiting for the store to let {device.name} in"):
                fix = "see `isthmus fleet access` for what its credentials have to allow"
                raise PlatformError(f"the store does not let {device.name} read {key}. Fix: {fix}")
            if not is_ours:
                return  # the same credentials for all

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("LocalDevices", "the fleet is not part of its id")
        there = [device for device in inputs["devices"] if (Path(inputs["directory"]) / device["name"]).is_dir()]
        if inputs["devices"] and not there:
            return None
        marks: Mapping[str, str] = state.get("marks") or {}
        return Found({**inputs, "devices": there}, {**state, "marks": {**marks, **dict.fromkeys(_of_another_secret(inputs), "")}})

    def _take_out(self, place: "Place", state: Values, names: Sequence[str], context: Context) -> None:
        """Has the fleet know the devices no more, as far as its keys are here."""
        from isthmus.repository.keyring import NotEnoughKeysError
        from isthmus.repository.keys import KeyNotAtHandError

        try:
            _write_identities(state, _without(place, keyring_of(state), state["fleet"], names))
        except (InputError, KeyNotAtHandError, NotEnoughKeysError) as error:
            context.warn(f"{', '.join(names)} stay on the roster of fleet {state['fleet']}: {error}")

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        folder = Path(id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / MAKING_FILE).write_text(context.making)

    def marked(self, id: str, state: Values, context: Context) -> str:
        try:
            return (Path(id) / MAKING_FILE).read_text()
        except OSError:
            return ""

    def delete(self, id: str, state: Values, context: Context) -> None:
        names = [device["name"] for device in state["devices"]]
        with gone_with_its_store(state):
            place = place_of(state)
            if place.objects.tag(place.timestamp_key):
                self._take_out(place, state, names, context)
        _remove(Path(id), names)
        (Path(id) / MAKING_FILE).unlink(missing_ok=True)
        if Path(id).is_dir() and not any(Path(id).iterdir()):
            Path(id).rmdir()


def _without(place: "Place", keyring: "Keyring", fleet: str, names: Sequence[str]) -> "Roster":
    """The roster, from which the devices are gone by now."""
    from isthmus.repository import roster

    def left(found: "Roster") -> "Roster":
        for name in names:
            found = found.without(name)
        return found

    return roster.change(place, keyring, fleet, left)


def _write_identities(inputs: Values, roster: "Roster") -> bool:
    """Makes the store know who is on the roster, and nobody else, where that is ours to do; whether it is."""
    file = _identities_file(inputs)
    if file is not None and identities.write(file, _area(inputs), roster, _secret(inputs), _sampled(inputs)):
        file.read_again()
    return file is not None


def _remove(directory: Path, names: Sequence[str]) -> None:
    for name in names:
        shutil.rmtree(directory / name, ignore_errors=True)


def _wanted(inputs: Values) -> list["Wanted"]:
    from isthmus.repository.wanted import Wanted

    return [Wanted(it["name"], it["class"], it["labels"]) for it in inputs["devices"]]


def _folders(inputs: Values) -> dict[str, Path]:
    return {device["name"]: Path(inputs["directory"]) / device["name"] for device in inputs["devices"]}


def _former(state: Values, wanted: set[str]) -> list[str]:
    """Devices that the last update had, and that are wanted no more."""
    return [it["name"] for it in state.get("devices", ()) if it["name"] not in wanted]


def _access(inputs: Values) -> "enrolling.Access":
    from isthmus.provider.local import enrolling
    from isthmus.repository.access import DeviceAccess, derived_access

    given, fleet = inputs.get("access"), inputs["fleet"]
    if given is not None:
        found = DeviceAccess(given["access_key"], given["secret_key"])
        return enrolling.Access(_secret(inputs), lambda _: found)
    secret = _secret(inputs)
    return enrolling.Access(secret, lambda device: derived_access(secret, fleet, device))


def _secret(inputs: Values) -> bytes:
    from isthmus.repository import roster

    return roster.fleet_secret(roster.secret_uri(inputs["fleet"]), Path(inputs["keys"]))


def _area(inputs: Values) -> Any:
    from isthmus.repository.access import Area

    return Area(inputs["bucket"], inputs["prefix"], inputs["fleet"])


def _url(inputs: Values) -> str:
    from isthmus.release.store import normal_endpoint

    return f"{normal_endpoint(inputs['store']['endpoint'])}/{inputs['bucket']}/{inputs['prefix']}"


def _identities_file(inputs: Values) -> IdentitiesFile | None:
    given = inputs.get("identities")
    return IdentitiesFile(Path(given["supervisor"]), given["program"]) if given is not None else None


def _sampled(inputs: Values) -> Mapping[str, str] | None:
    """Labels of the devices that may write samples; None: none may."""
    given = inputs.get("samples")
    return given and given["labels"]


def _lacking(inputs: Values, state: Values) -> bool:
    """Whether an update would find something to mend on this machine's disk."""
    if not is_known([inputs["directory"], inputs["devices"], inputs.get("identities")]):
        return False
    marks: Mapping[str, str] = state.get("marks") or {}
    if any(mark_of(folder) != marks.get(name) for name, folder in _folders(inputs).items()):
        return True
    file = _identities_file(inputs)
    try:
        return file is not None and not identities.lets_in(file, _area(inputs), marks)
    except InputError:
        return True


def _of_another_secret(inputs: Values) -> Iterator[str]:
    """Devices whose keys do not follow from the fleet's secret of now, if that is here."""
    from isthmus.repository import roster

    try:
        secret, _ = roster.secret_at_hand(inputs["fleet"], Path(inputs["keys"]))
    except InputError:
        return
    if secret is not None:
        yield from (name for name, folder in _folders(inputs).items() if is_of_another_secret(folder, secret, inputs["fleet"]))


def _device_problems(devices: Any) -> Iterator[Problem]:
    from isthmus.repository.wanted import Wanted

    if not isinstance(devices, list):
        return
    if len(devices) > FLEET_DEVICES.most:
        yield Problem("devices", f"are {len(devices)}", f"{FLEET_DEVICES.most:g} at most")
    names = [it["name"] for it in devices if isinstance(it, Mapping)]
    for index, device in enumerate(devices):
        if not is_known(device) or not isinstance(device, Mapping):
            continue
        where = f"devices[{index}]"
        yield from Wanted(device["name"], device["class"], device["labels"]).problems(where)
        if device["name"] in names[:index]:
            yield Problem(f"{where}.name", f"{device['name']!r} is named twice", "each device once")
