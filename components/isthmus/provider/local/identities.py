"""The identities file of a store that runs on this machine: whom it lets in (SeaweedFS reads it again on SIGHUP)."""

import contextlib
import json
import os
import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isthmus.provider.local.layout import Layout, write_private
from isthmus.provider.local.program import Program
from isthmus.provider.local.supervisord import Supervisord
from isthmus.repository.access import Area, identity_names, read_identities, with_identities
from isthmus_agent.formats.roster import Roster

FILE_NAME: Final = "s3.json"


@dataclass(frozen=True)
class IdentitiesFile:
    """Of a program under a supervisor."""

    supervisor: Path
    program: str

    @property
    def path(self) -> Path:
        return Layout(self.supervisor).replica(self.program, 0) / FILE_NAME

    def read_again(self) -> None:
        """Makes the store look at it, where it runs."""
        program = Program(Supervisord(Layout(self.supervisor)), self.program)
        for pid in program.pids(program.running()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)


def write(file: IdentitiesFile, area: Area, roster: Roster, secret: bytes, sampled: Mapping[str, str] | None = None) -> bool:
    """Lets the fleet's devices in, and nobody who left; whether that changed anything. sampled: labels of those that may write samples;
    None: none may. Raises InputError where there is no such file."""
    before = read_identities(file.path)
    after = with_identities(before, area, roster.everybody, secret, sampled)
    if after != before:
        write_private(file.path, json.dumps(after))
    return after != before


def lets_in(file: IdentitiesFile, area: Area, devices: Collection[str]) -> bool:
    """Whether each of these devices has an identity. Raises InputError where there is no such file."""
    return set(devices) <= set(identity_names(read_identities(file.path), area))
