"""What a device's own credentials let it do in the store: read what its fleet is told, and write its own reports; and its own samples of
what it is asked, where the fleet's owner has said so. Nothing else.

It neither lists, nor reads what other devices say, samples, the roster, or what waits for devices that join. How that is said: actions of
the identities file of SeaweedFS (`weed mini -s3.config FILE`), which the embedded store reads again on SIGHUP; a policy of AWS's IAM.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from isthmus.errors import InputError, Problem
from isthmus_agent.formats import numbers, report, samples
from isthmus_agent.formats.roster import Device, has_labels

DEVICE_TAG: Final = "isthmus-device"
"""Of an IAM user or role: the device's name, for the one policy that serves all of them."""
_PLAIN = re.compile(r"[A-Za-z0-9!_.()/+=@ -]*")  # nothing that a policy takes for a pattern or a variable


@dataclass(frozen=True)
class DeviceAccess:
    """A device's credentials in the store. The secret appears in no repr."""

    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True)
class Area:
    """Where a fleet's repository lies. prefix: of all its keys; empty, or ends with `/`. Raises InputError for what no policy can hold."""

    bucket: str
    prefix: str
    fleet: str

    def __post_init__(self) -> None:
        for name, value in (("bucket", self.bucket), ("prefix", self.prefix)):
            if not _PLAIN.fullmatch(value):
                what = f"{value!r} cannot be named in a store's policies"
                raise InputError([Problem(f"fleet {name}", what, "letters, digits and ! _ . ( ) / + = @ -")])

    def readable(self) -> tuple[str, ...]:
        """Patterns of the keys that every device of the fleet reads."""
        return (f"{self.prefix}metadata/*", f"{self.prefix}targets/{self.fleet}/*")


def derived_access(secret: bytes, fleet: str, device: Device) -> DeviceAccess:
    """Credentials for a store whose identities are ours to write: they follow from the fleet's secret, so that none has to be kept."""
    who = f"{numbers.name(fleet, 'fleet')}\0{numbers.device_name(device.name, 'device')}\0{device.generation}\0".encode()
    extracted = hmac.digest(b"isthmus-device-store-access", secret, "sha256")
    first = hmac.digest(extracted, who + b"\x01", "sha256")  # HKDF-SHA256, 64 bytes
    second = hmac.digest(extracted, first + who + b"\x02", "sha256")
    name = base64.b32encode(first[:10]).decode()
    return DeviceAccess(f"ISTH{name}", base64.urlsafe_b64encode(second[:30]).decode())


def identity(area: Area, device: Device, access: DeviceAccess, *, may_sample: bool = False) -> dict[str, Any]:
    """A device's entry of SeaweedFS's identities file."""
    actions = [f"Read:{area.bucket}/{pattern}" for pattern in area.readable()]
    # Write is also the right to delete: of the report before this one.
    actions.append(f"Write:{area.bucket}/{report.own_keys(area.prefix, device.name)}")
    if may_sample:
        actions.append(f"Write:{area.bucket}/{samples.own_keys(area.prefix, area.fleet, device.name)}")
    credentials = [{"accessKey": access.access_key, "secretKey": access.secret_key}]
    return {"name": f"{_identities_of(area)}{device.name}.{device.generation}", "credentials": credentials, "actions": actions}


def with_identities(
    document: Mapping[str, Any], area: Area, devices: Iterable[Device], secret: bytes, sampled: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """An identities file in which the fleet's devices are these, and all else is as it was.

    An identity that was there and is no device's any more stays, and may do nothing: a SeaweedFS that runs forgets none that it has read.

    devices: those of the roster and those that were sent a token; one that is to have new keys is both. sampled: labels of those that may
    write samples; None: none may.
    """
    entries = [
        identity(
            area,
            device,
            derived_access(secret, area.fleet, device),
            may_sample=sampled is not None and has_labels(device.labels, sampled),
        )
        for device in devices
    ]
    names = {it["name"] for it in entries}
    before = [it for it in document.get("identities", []) if it.get("name") not in names]
    kept = [{**it, "actions": []} if str(it.get("name", "")).startswith(_identities_of(area)) else it for it in before]
    return {**document, "identities": [*kept, *entries]}


def identity_names(document: Mapping[str, Any], area: Area) -> Iterator[str]:
    """The fleet's devices that an identities file lets in."""
    for it in document.get("identities", []):
        name = str(it.get("name", ""))
        if name.startswith(_identities_of(area)) and it.get("actions"):
            yield name.removeprefix(_identities_of(area)).rpartition(".")[0]


def _identities_of(area: Area) -> str:
    """What the names of a fleet's identities begin with. Two areas of a store may have a device of the same name."""
    whose = hashlib.sha256(f"{area.bucket}\0{area.prefix}\0{area.fleet}".encode()).hexdigest()[:8]
    return f"isthmus-device-{whose}-"


def aws_policy(area: Area, device: str, *, may_sample: bool = False) -> dict[str, Any]:
    """The IAM policy of one device's user or role."""
    return _aws_policy(area, *_own(area, device), may_sample=may_sample)


def aws_policy_by_tag(area: Area, *, may_sample: bool = False) -> dict[str, Any]:
    """One IAM policy for all devices: whose user or role has the tag `isthmus-device`, which nobody but the operator may set."""
    tagged = (it.replace("/x~", f"/${{aws:PrincipalTag/{DEVICE_TAG}}}~") for it in _own(area, "x"))
    return _aws_policy(area, *tagged, may_sample=may_sample)


def _own(area: Area, device: str) -> tuple[str, str]:
    """Patterns of the keys of a device's reports, and of its samples."""
    return report.own_keys(area.prefix, device), samples.own_keys(area.prefix, area.fleet, device)


def _aws_policy(area: Area, own_reports: str, own_samples: str, *, may_sample: bool) -> dict[str, Any]:
    arn = f"arn:aws:s3:::{area.bucket}/"
    sampling = {"Sid": "SendSamples", "Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [arn + own_samples]}
    return {
        "Version": "2012-10-17",  # that of the language, which has variables since then
        "Statement": [
            {"Sid": "ReadWhatIsTold", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [arn + it for it in area.readable()]},
            {
                "Sid": "SayHowItGoes",
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:DeleteObject"],
                "Resource": [arn + own_reports],
            },
            *([sampling] if may_sample else []),
        ],
    }


def read_identities(file: Path) -> dict[str, Any]:
    """An identities file. Raises InputError where it is none."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError([Problem(str(file), f"cannot be read: {type(error).__name__}", "SeaweedFS's identities file")]) from error
    if not isinstance(found, dict) or not isinstance(found.get("identities"), list):
        raise InputError([Problem(str(file), "has no list of identities", "SeaweedFS's identities file")])
    return found
