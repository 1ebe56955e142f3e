"""`isthmus fleet devices`, `remove` and `access`: the roster as it is shown and changed."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isthmus.cli.commands.fleet.enrolling import area_of, sampled_in, secret_of, write_identities
from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import days_left, explained, fleet_of, founded, keyring_of, located_of, with_keys
from isthmus.repository import roster
from isthmus.repository.access import aws_policy, aws_policy_by_tag
from isthmus.repository.enrolment import settle, settle_if_possible
from isthmus_agent.formats.roster import Device, Roster


def show(options: Repository, fleet: str, keys: Sequence[str], console: Console, *, as_json: bool) -> None:
    """Prints the devices, and who joined. Raises IsthmusError."""
    keyring = with_keys(keyring_of(options), keys)
    fleet = fleet_of(keyring, fleet)
    found = located_of(options, [fleet])
    with explained(options.keys, found.where):
        founded(found.place, keyring)
        settled = settle_if_possible(found.place, keyring, fleet)
    devices, joined = settled.roster, settled.joined
    if as_json:
        console.print(json.dumps(data(devices), indent=2), markup=False, highlight=False, soft_wrap=True)
        return
    if joined:
        console.print(f"joined: {', '.join(joined)}", markup=False, highlight=False)
    if devices.devices or devices.pending:
        console.print(table(devices, datetime.now(UTC)))
    console.print(f"{fleet}: {len(devices.devices)} devices, {len(devices.pending)} tokens not used", markup=False, highlight=False)


def data(found: Roster) -> Mapping[str, Any]:
    """Of JSON's types alone."""
    pending = [{**_data(it.device), "expires_seconds": it.expires_seconds} for it in found.pending]
    return {"fleet": found.fleet, "devices": [_data(it) for it in found.devices], "pending": pending}


def _data(device: Device) -> dict[str, Any]:
    return {"name": device.name, "class": device.device_class, "labels": dict(device.labels), "generation": device.generation}


def table(found: Roster, now: datetime) -> Table:
    """A row for each device, then for each token."""
    shown = Table("device", "class", "labels", "keys", "token", box=None, header_style="dim")
    rows = [(it, "") for it in found.devices]
    rows += [(it.device, f"expires {days_left(datetime.fromtimestamp(it.expires_seconds, UTC), now)}") for it in found.pending]
    for device, token in rows:
        labels = ", ".join(f"{name}={value}" for name, value in device.labels.items())
        shown.add_row(*(Text(it) for it in (device.name, device.device_class, labels, str(device.generation), token)))
    return shown


def remove(options: Repository, device: str, fleet: str, keys: Sequence[str], console: Console) -> None:
    """Takes a device out. Raises IsthmusError."""
    keyring = with_keys(keyring_of(options), keys)
    fleet = fleet_of(keyring, fleet)
    found = located_of(options, [fleet])
    with explained(options.keys, found.where):
        founded(found.place, keyring)
        roster.remove_device(found.place, keyring, fleet, device)
        devices = settle(found.place, keyring, fleet).roster
    console.print(
        f"{device} is no device of fleet {fleet} any more: what it says does not count. Take its credentials in the store too "
        f"(isthmus fleet access). {len(devices.devices)} devices are left",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def grant(
    options: Repository, fleet: str, console: Console, *, identities: Path | None, device: str, secret_uri: str, may_sample: bool
) -> None:
    """Writes identities, or prints a policy. may_sample: of the policy; identities follow what is signed. Raises IsthmusError."""
    keyring = keyring_of(options)
    fleet = fleet_of(keyring, fleet)
    found = located_of(options, [fleet])
    area = area_of(found, fleet)
    if identities is None:
        policy = aws_policy(area, device, may_sample=may_sample) if device else aws_policy_by_tag(area, may_sample=may_sample)
        console.print(json.dumps(policy, indent=2), markup=False, highlight=False, soft_wrap=True)
        return
    with explained(options.keys, found.where):
        current = founded(found.place, keyring)
        devices = roster.read(found.place, keyring, fleet)
        secret = secret_of(keyring, fleet, secret_uri, devices)
        count = write_identities(identities, area, devices, secret.content, sampled_in(current, fleet))
    console.print(f"{identities} has {count} identities of fleet {fleet}; a SeaweedFS that runs reads it again on SIGHUP", markup=False)
