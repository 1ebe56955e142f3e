"""`isthmus fleet status`: what a fleet's devices say, where its secret is here."""

from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from isthmus.cli.commands.fleet import standing_view
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.roster import secret_at_hand
from isthmus.rollouts.intent import Fleet
from isthmus.rollouts.looking import observed
from isthmus.rollouts.standing import Standing


@dataclass(frozen=True)
class Seen:
    """why_not: why what devices say was not read; empty where it was."""

    standing: Standing
    why_not: str = ""


def seen_of(place: Place, keyring: Keyring, fleet: str, uri: str) -> Seen | None:
    """Where the rollout stands; None where nothing was told. uri: of the fleet's secret, if not beside the key ring."""
    secret, why_not = secret_at_hand(fleet, keyring.folder, uri)
    found = observed(Fleet(place, keyring, fleet, secret))
    return Seen(found, why_not) if found else None


def said(seen: Seen) -> RenderableType:
    """What stands below what is signed."""
    if seen.why_not:
        return Text(f"what devices say was not read: {seen.why_not}", style="dim")
    return standing_view.rendered(seen.standing.data())
