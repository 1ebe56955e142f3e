"""Whether a device takes part in a group, and with what: all that costs memory is imported where one does."""

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from isthmus_agent.channel import GATE, Peers, View
from isthmus_agent.core.events import Event
from isthmus_agent.formats.fusion_group import VIEW
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.said import SUBJECT
from isthmus_agent.manager.evidence import Evidence
from isthmus_agent.manager.settings import Settings

if TYPE_CHECKING:
    from isthmus_agent.manager.together import Together


def made(settings: Settings, listener: socket.socket, boots: int, request_seconds: float, say: Callable[[str], None]) -> "Together | None":
    """The device's part in its group; None where it has none. boots: of the program, this one counted."""
    group = settings.local.group
    if group is None:
        return None
    from isthmus_agent.manager.together import Together

    folder, address = settings.state_directory, listener.getsockname()
    try:
        return Together(group, settings.device, folder, address, start=max(1, boots), request_seconds=request_seconds, say=say)
    except (OSError, FormatError) as error:
        say(f"group {group.name}: this device takes no part: {group.password_file} cannot be read ({type(error).__name__})")
        return None


def peers_of(settings: Settings) -> Peers | None:
    """Whom the device's server may ask; None: nobody, as the inputs stay on the device."""
    group = settings.local.group
    if group is None or not group.shares_inputs:
        return None
    return Peers(str(settings.state_directory), GATE, group.peer_timeout_seconds, group.deadline_seconds)


def view_of(settings: Settings) -> View | None:
    """As whom the device answers together with its group; None: it answers alone."""
    name = settings.device.labels.get(VIEW)
    return View(settings.device.name, name) if settings.local.group is not None and name else None


def evidence_of(group: "Together | None") -> Evidence:
    """What servers say to the group and hear of it."""
    if group is None:
        return Evidence()
    evidence = Evidence(group.publisher(SUBJECT))
    group.listen(SUBJECT, evidence.heard)
    group.follow(evidence.present)
    return evidence


def heard(group: "Together | None", tell: Callable[[Event], None]) -> Callable[[Event], None]:
    """Has the group see what is told of the server."""
    if group is None:
        return tell

    def both(event: Event) -> None:
        group.see(event)
        tell(event)

    return both
