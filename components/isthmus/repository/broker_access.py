"""What a device's own credentials let it do at its group's broker (MQTT): write under its own name, and read who is there and what is for
itself. Nothing else.

How that is said: Mosquitto's configuration, password and ACL files, and the configuration of amqtt, the embedded broker. Passwords follow
from a secret, as a device's credentials in the store do (`access`), so that none has to be kept.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from isthmus.errors import InputError, Problem
from isthmus_agent.formats import numbers, topics
from isthmus_agent.formats.passing import HEAD_BYTES, MOST_PAYLOAD_BYTES

MQTT_TLS_PORT: Final = 8883
# Passwords have 256 bits of their own: more rounds would protect nothing, and a broker would do them with each connection.
_ROUNDS: Final = 101
_SALT_BYTES: Final = 12
_TOPIC_BYTES: Final = 1024
"""More than the longest topic has, and a packet's properties."""
_MOST_WAITING: Final = 512
"""Messages that a broker keeps for one device that is slow."""


@dataclass(frozen=True)
class BrokerFiles:
    """What a broker is started with, by the files' names: `mosquitto -c mosquitto.conf` in their folder."""

    configuration: str
    passwords: str
    acl: str

    NAMES: Final = ("mosquitto.conf", "passwords", "acl")  # type: ignore[misc]

    @property
    def by_name(self) -> Mapping[str, str]:
        """Their contents."""
        return dict(zip(self.NAMES, (self.configuration, self.passwords, self.acl), strict=True))


def derived_password(secret: bytes, group: str, device: str, generation: int = 0) -> str:
    """The password of a device; another one with each generation. From a secret that the operator alone has."""
    who = f"{numbers.name(group, 'group')}\0{numbers.device_name(device, 'device')}\0{generation}\0"
    found = hmac.digest(hmac.digest(b"isthmus-group-broker", secret, "sha256"), who.encode() + b"\x01", "sha256")  # HKDF-SHA256
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode()


def mosquitto(
    groups: Mapping[str, Mapping[str, str]],
    *,
    certificate: str,
    key: str,
    address: str | None = None,
    port: int = MQTT_TLS_PORT,
) -> BrokerFiles:
    """The files of Mosquitto 2.

    Args:
        groups: the devices' passwords by their names, by their groups' names.
        certificate, key: of the broker, paths to files in PEM on its machine. address: that it listens on; all of them by default.

    Raises:
        InputError: a device in two groups, names that are none, and paths of more than a line.
    """
    named = {"certificate": certificate, "key": key}
    wrong = [Problem(name, f"{it!r} is no path", "a path in one line", "correct it") for name, it in named.items() if not _is_line(it)]
    if wrong:
        raise InputError(wrong)
    checked = _checked(groups)
    lines = [
        f"listener {port}{f' {address}' if address else ''}",
        f"certfile {certificate}",
        f"keyfile {key}",
        "tls_version tlsv1.2",
        "allow_anonymous false",
        f"password_file {BrokerFiles.NAMES[1]}",
        f"acl_file {BrokerFiles.NAMES[2]}",
        "# A device that takes another one's client id would end that one's connection.",
        "use_username_as_clientid true",
        f"max_packet_size {HEAD_BYTES + MOST_PAYLOAD_BYTES + _TOPIC_BYTES}",
        f"max_queued_messages {_MOST_WAITING}",
        "persistence false",
        "# Small messages do not wait for the acknowledgement of the one before, some 40 ms.",
        "set_tcp_nodelay true",
    ]
    acl = []
    for device, (group, _) in checked.items():
        acl += [f"user {device}", *(f"topic read {it}" for it in topics.may_read(group, device))]
        acl += [*(f"topic write {it}" for it in topics.may_write(group, device)), ""]
    passwords = [f"{device}:{_hashed(password, device)}" for device, (_, password) in checked.items()]
    return BrokerFiles(_text(lines), _text(passwords), _text(acl))


def amqtt(
    groups: Mapping[str, Mapping[str, str]],
    *,
    bind: str,
    password_file: str,
    hashed: Callable[[str], str],
    certificate: str | None = None,
    key: str | None = None,
) -> tuple[dict[str, Any], str]:
    """The configuration of amqtt's broker, and the content of its password file.

    It speaks MQTT 3.1.1 alone and lets a device's will go to any topic, so that it is for one machine and for tests.

    Args:
        groups: as for `mosquitto`. bind: ADDRESS:PORT. hashed: makes what the file holds of a password (Argon2, as `pwdlib` writes it).

    Raises InputError as `mosquitto` does.
    """
    checked = _checked(groups)
    secured = {"ssl": True, "certfile": certificate, "keyfile": key} if certificate and key else {}
    rights = {
        "acl": {device: list(topics.may_read(group, device)) for device, (group, _) in checked.items()},
        "publish_acl": {device: list(topics.may_write(group, device)) for device, (group, _) in checked.items()},
    }
    configuration = {
        "listeners": {"default": {"type": "tcp", "bind": bind, **secured}},
        "plugins": {
            "amqtt.plugins.authentication.FileAuthPlugin": {"password_file": password_file},
            "amqtt.plugins.topic_checking.TopicAccessControlListPlugin": rights,
        },
    }
    return configuration, _text(f"{device}:{hashed(password)}" for device, (_, password) in checked.items())


def _checked(groups: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, str]]:
    """Group and password of each device, by its name."""
    problems: list[Problem] = []
    found: dict[str, tuple[str, str]] = {}
    for group, devices in sorted(groups.items()):
        for device, password in sorted(devices.items()):
            where = f"groups.{group}.{device}"
            try:
                numbers.name(group, "group")
                numbers.device_name(device, "device")
            except numbers.FormatError as error:
                problems.append(Problem(where, str(error), "names as a fleet has them", "rename it"))
                continue
            if device in found:
                problems.append(Problem(where, f"it is in the group {found[device][0]} too", "one group for each device", "leave one out"))
            found[device] = group, password
    if problems:
        raise InputError(problems)
    return found


def _hashed(password: str, device: str) -> str:
    """As Mosquitto's password file has it (PBKDF2 with SHA-512). The salt follows from both: the same devices, the same file."""
    salt = hmac.digest(password.encode(), device.encode(), "sha256")[:_SALT_BYTES]
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS)
    return f"$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _is_line(text: str) -> bool:
    return bool(text) and text.isprintable()


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
