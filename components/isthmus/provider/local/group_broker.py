"""`python -m isthmus.provider.local.group_broker FOLDER PORT`: the broker of a fleet's groups, on loopback, with TLS and an ACL.

It becomes Mosquitto where that is on this machine, and is amqtt else. FOLDER has the devices' passwords by their groups, and the broker's
certificate with its key.
"""

import asyncio
import json
import logging
import os
import pwd
import shutil
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from isthmus.names import BROKER_CERTIFICATE_FILE, BROKER_GROUPS_FILE, BROKER_KEY_FILE
from isthmus.provider.local.layout import write_private
from isthmus.provider.local.ports import HOST
from isthmus.repository import broker_access

_MOSQUITTO: Final = "mosquitto"
_MORE_FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin")
"""Where Debian has it, which is not on everybody's path."""
_MISSING: Final = (
    "this machine has no broker for the fleet's groups. Fix: install Mosquitto (apt-get install mosquitto), or amqtt "
    "(pip install 'isthmus[local]')"
)


def mosquitto_program() -> str | None:
    """Where Mosquitto is; None: it is not here."""
    return shutil.which(_MOSQUITTO, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_FOLDERS]))


def main(folder: Path, port: int) -> None:
    """Is the broker until it is ended. Raises SystemExit where there is none."""
    groups = json.loads((folder / BROKER_GROUPS_FILE).read_bytes())
    program = mosquitto_program()
    if program is not None:
        configure_mosquitto(folder, port, groups)
        os.chdir(folder)
        os.execv(program, [program, "-c", broker_access.BrokerFiles.NAMES[0]])  # noqa: S606 - a path that was looked up
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.ERROR)
    try:
        configuration = configure_amqtt(folder, port, groups)
    except ImportError:
        raise SystemExit(_MISSING) from None
    asyncio.run(_serve(configuration))


def configure_mosquitto(folder: Path, port: int, groups: Mapping[str, Mapping[str, str]]) -> None:
    """Writes what Mosquitto reads."""
    certificate, key = (str(folder / name) for name in (BROKER_CERTIFICATE_FILE, BROKER_KEY_FILE))
    files = broker_access.mosquitto(groups, certificate=certificate, key=key, address=HOST, port=port)
    # Started by root, it becomes a user of its own, who may not read this folder.
    own = f"user {pwd.getpwuid(os.getuid()).pw_name}\n"
    for name, content in files.by_name.items():
        write_private(folder / name, content + (own if name == files.NAMES[0] else ""))


def configure_amqtt(folder: Path, port: int, groups: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """amqtt's configuration; its password file is written. Raises ImportError where it is not here."""
    import amqtt.broker  # noqa: F401
    from pwdlib.hashers.argon2 import Argon2Hasher

    configuration, passwords = broker_access.amqtt(
        groups,
        bind=f"{HOST}:{port}",
        password_file=str(folder / "passwords"),
        # A password has 256 bits of its own: what makes guessing dear would cost the broker 64 MB with each connection.
        hashed=Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1).hash,
        certificate=str(folder / BROKER_CERTIFICATE_FILE),
        key=str(folder / BROKER_KEY_FILE),
    )
    write_private(folder / "passwords", passwords)
    return configuration


async def _serve(configuration: dict[str, Any]) -> None:
    from amqtt.broker import Broker

    broker = Broker(configuration)

    # A subscription that comes while 0.12.1 passes a message on would end its passing on for good: a dictionary changes while it is read.
    class Steady(type(broker._subscriptions)):  # type: ignore[misc]
        def items(self) -> Any:
            return list(super().items())

    broker._subscriptions = Steady(broker._subscriptions)
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
