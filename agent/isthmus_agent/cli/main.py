"""`isthmus-agent run | enrol | status | rollback | explain | update --from FOLDER`."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from isthmus_agent.cli import joining, words
from isthmus_agent.manager import control, telling
from isthmus_agent.manager.checking import SettingsError
from isthmus_agent.manager.control import NotRunningError
from isthmus_agent.manager.settings import CONFIG, Settings, load

EXIT_FAILED, EXIT_INPUT, EXIT_NOT_RUNNING = 1, 2, 3
_LOOK_SECONDS: Final = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done; 1: it went wrong; 2: the command or the configuration is wrong; 3: no program runs that could be asked."""
    asked = _parser().parse_args(arguments)
    try:
        found: int = asked.command(asked)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_INPUT
    except NotRunningError as error:
        sys.stderr.write(f"isthmus-agent: {error}. Fix: start it (systemctl start isthmus-agent, or isthmus-agent run)\n")
        return EXIT_NOT_RUNNING
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="isthmus-agent", description="Keeps one device's AI model up to date, and serves it.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "run", _run, "serve and update until SIGTERM")
    joining.add(_command(commands, "enrol", joining.enrol, "join a fleet, or take new keys, with a token of the fleet's operator"))
    _command(commands, "status", _status, "what this device serves, and what it is at", prints=True)
    _command(commands, "explain", _explain, "why this device is in the state it is in", prints=True)
    _command(commands, "rollback", _rollback, "serve the model before this one; the release is not tried again", prints=True)
    update = _command(commands, "update", _update, "look for a release now", prints=True)
    what = "a folder (a USB stick) with a mirror of the fleet's repository: metadata/ and targets/. It is checked like the store"
    update.add_argument("--from", dest="folder", type=Path, required=True, metavar="FOLDER", help=what)
    return parser


def _command(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], text: str, *, prints: bool = False
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"JSON (default: {CONFIG}, where that is there)")
    if prints:
        parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=command)
    return parser


def _run(asked: argparse.Namespace) -> int:
    from isthmus_agent.manager import program  # what the other commands have no use for

    try:
        program.run(load(asked.config), say=lambda text: _say(sys.stderr, text))
    except program.CannotRunError as error:
        _say(sys.stderr, str(error))
        return EXIT_FAILED
    return 0


def _told(settings: Settings) -> dict[str, Any]:
    try:
        return control.ask(settings.state_directory, {"do": "status"})
    except NotRunningError:
        return {"device": settings.device.name, "fleet": settings.device.fleet, **telling.of_disk(settings.state_directory)}


def _status(asked: argparse.Namespace) -> int:
    found = _told(load(asked.config))
    _print(found, words.status, as_json=asked.json)
    return 0 if found["running"] else EXIT_NOT_RUNNING


def _explain(asked: argparse.Namespace) -> int:
    _print(_told(load(asked.config)), words.explanation, as_json=asked.json)
    return 0


def _rollback(asked: argparse.Namespace) -> int:
    found = control.ask(load(asked.config).state_directory, {"do": "rollback"})
    if "error" in found:
        _say(sys.stderr, found["error"])
        return EXIT_FAILED
    _print(found, words.status, as_json=asked.json)
    return 0


def _update(asked: argparse.Namespace) -> int:
    settings, folder = load(asked.config), asked.folder.absolute()
    if not (folder / "metadata").is_dir():
        _say(sys.stderr, f"--from: {folder} has no metadata/ in it, expected a mirror of the fleet's repository")
        return EXIT_INPUT
    before = _told(settings)
    if before["running"]:
        found = control.ask(settings.state_directory, {"do": "update", "from": str(folder)})
        while "error" not in found and (found["source"] != "store" or found["phase"] == "trial"):
            time.sleep(_LOOK_SECONDS)
            found = control.ask(settings.state_directory, {"do": "status"})
    else:
        found = _updated_here(settings, folder)
    if "error" in found:
        _say(sys.stderr, found["error"])
        return EXIT_FAILED
    _print(found, words.explanation, as_json=asked.json)
    if found["update_failed"]:
        _say(sys.stderr, f"{folder}: {found['update_failed']}")
    return 0 if found["phase"] in ("confirmed", "idle", "checking") and not found["update_failed"] else EXIT_FAILED


def _updated_here(settings: Settings, folder: Path) -> dict[str, Any]:
    """As the program would do it, which does not run: this command is it for as long."""
    from isthmus_agent.manager import program

    joining.become_owner(settings.state_directory)
    try:
        executor = program.run(settings, mirror=folder, say=lambda text: _say(sys.stderr, text))
    except program.CannotRunError as error:
        return {"error": str(error)}
    return {**telling.of_state(executor.state, executor.now(), executor.entries), "update_failed": executor.update_failed}


def _print(found: dict[str, Any], text: Callable[[dict[str, Any]], str], *, as_json: bool) -> None:
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if as_json else text(found))


def _say(stream: Any, text: str) -> None:
    stream.write(f"isthmus-agent: {text}\n")
    stream.flush()
