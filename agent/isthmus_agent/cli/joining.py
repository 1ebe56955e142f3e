"""`isthmus-agent enrol`: a token comes from a file or from a pipe, so that no list of processes and no shell's history has it."""

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from isthmus_agent.formats.enrolment import MOST_TOKEN_CHARACTERS
from isthmus_agent.formats.former import Former
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.manager import control, enrolment
from isthmus_agent.manager.checking import Problem, SettingsError
from isthmus_agent.manager.control import NotRunningError
from isthmus_agent.manager.failures import RepositoryFailure
from isthmus_agent.manager.settings import ACCESS_KEY, SECRET_KEY, load_local
from isthmus_agent.manager.signing_v4 import Credentials
from isthmus_agent.manager.transport import Transport

_STDIN: Final = "-"


def add(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    where = parser.add_mutually_exclusive_group()
    what = "read from standard input (-, the default). A token that is written here can be seen by everybody on this machine"
    where.add_argument("token", nargs="?", default=_STDIN, metavar="TOKEN", help=what)
    where.add_argument("--token-file", type=Path, metavar="FILE", help="the token is in this file")
    what = "move over from a former version, whose configuration this file is: the token is in the last document that its key has signed"
    where.add_argument("--former", type=Path, metavar="FILE", help=what)


def enrol(asked: argparse.Namespace) -> int:
    """0: enrolled, also where it was before by this token. 1: not for now. 2: the token is of no use."""
    local = load_local(asked.config)
    former = _former(asked.former) if asked.former else None
    typed = None if former else _token(asked)
    become_owner(local.state_directory)
    try:
        token = _token_for(former, local.ca_file) if former else str(typed)
        found = enrolment.enrol(token, local.state_directory, Transport(ca_file=local.ca_file))
    except enrolment.RefusedTokenFailure as failure:
        sys.stderr.write(f"isthmus-agent: {failure}\n")
        return 2
    except RepositoryFailure as failure:
        sys.stderr.write(f"isthmus-agent: {failure}. Nothing is lost: run the same command again\n")
        return 1
    sys.stdout.write(f"this device is {found.device} of fleet {found.fleet}\n")
    with suppress(NotRunningError):
        control.ask(local.state_directory, {"do": "status"})
        sys.stdout.write("the program runs, and takes this up at its next start: systemctl restart isthmus-agent\n")
    return 0


def become_owner(folder: Path) -> None:
    """Of a device's folder, where root works in it for the user that the program runs as: that user has to read what is written."""
    with suppress(FileNotFoundError):
        found = folder.stat()
        if os.geteuid() == 0 and found.st_uid != 0:
            os.setgroups([])
            os.setgid(found.st_gid)
            os.setuid(found.st_uid)


def _former(file: Path) -> Former:
    from isthmus_agent.manager.moving import former_of

    try:
        return former_of(file)
    except (OSError, FormatError) as error:
        what = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SettingsError([Problem("--former", f"{file}: {what}", "name the former device's configuration")]) from None


def _token_for(former: Former, ca_file: str | None) -> str:
    from isthmus_agent.manager.moving import token_for  # only here: what checks signatures takes a while to import

    keys = (former.access_key or os.environ.get(ACCESS_KEY, ""), former.secret_key or os.environ.get(SECRET_KEY, ""))
    credentials = Credentials(*keys, former.region) if all(keys) else None
    return token_for(former, Transport(credentials, ca_file=ca_file))


def _token(asked: argparse.Namespace) -> str:
    if asked.token_file is None and asked.token != _STDIN:
        sys.stderr.write("isthmus-agent: this token was in the list of processes; the next one is better read from a file\n")
        return str(asked.token)
    if asked.token_file is None and sys.stdin.isatty():
        sys.stderr.write("the token, then Enter:\n")
        return sys.stdin.readline(MOST_TOKEN_CHARACTERS + 2)
    try:
        if asked.token_file is None:
            return sys.stdin.read(MOST_TOKEN_CHARACTERS + 2)
        with asked.token_file.open(encoding="utf-8") as stream:
            return str(stream.read(MOST_TOKEN_CHARACTERS + 2))
    except (OSError, ValueError) as error:
        where = "standard input" if asked.token_file is None else str(asked.token_file)
        what = (error.strerror if isinstance(error, OSError) else None) or "it is no text"
        raise SettingsError([Problem("--token-file", f"cannot read {where}: {what}, expected one line")]) from None
