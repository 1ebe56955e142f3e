"""`isthmus fleet status`: what a fleet's devices say, where its secret is here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from isthmus.repository.keyring import Keyring
from isthmus.repository.keys import KeyNotAtHandError
from isthmus.repository.objects import Place
from isthmus.repository.roster import fleet_secret, secret_uri
from isthmus.rollouts.intent import Fleet
from isthmus.rollouts.looking import observed
from isthmus.rollouts.standing import Standing, WaveState
from isthmus_agent.formats import digests

STYLES: Final[Mapping[WaveState, str]] = {
    "closed": "dim",
    "open": "green",
    "waiting": "green",
    "passed": "green",
    "paused": "yellow",
    "aborted": "red",
}
_MOST_NAMES = 3


@dataclass(frozen=True)
class Seen:
    """why_not: why what devices say was not read; empty where it was."""

    standing: Standing
    why_not: str = ""


def seen_of(place: Place, keyring: Keyring, fleet: str, uri: str) -> Seen | None:
    """Where the rollout stands; None where nothing was told. uri: of the fleet's secret, if not beside the key ring."""
    try:
        secret, why_not = fleet_secret(uri or secret_uri(fleet), keyring.folder), ""
    except KeyNotAtHandError as error:
        if uri:
            raise
        secret, why_not = None, str(error)
    found = observed(Fleet(place, keyring, fleet, secret))
    return Seen(found, why_not) if found else None


def said(seen: Seen) -> Iterator[RenderableType]:
    """Lines below the waves."""
    if seen.why_not:
        yield Text(f"what devices say was not read: {seen.why_not}", style="dim")
        return
    standing = seen.standing
    for wave in standing.open_waves:
        yield Text(wave.line())
    if standing.verdict:
        yield Text(f"{standing.verdict.outcome}: {standing.verdict.reason}")
    versions = ", ".join(f"{digests.shown(digest)} on {count}" for digest, count in standing.versions.items())
    yield Text(f"versions: {versions or 'nobody has said one'}; {standing.devices} devices")
    for group in (*standing.failures, *standing.blocked):
        example = f" ({group.example})" if group.example not in ("", group.reason) else ""
        yield Text(f"{group.outcome.replace('_', ' ')}, {group.reason}{example}: {_names(group.devices)}", style="red")
    if standing.silent:
        yield Text(f"silent: {_names(standing.silent)}")
    for device, why in list(standing.unclear.items())[:_MOST_NAMES]:
        yield Text(f"unclear: {device}: {why}")
    if standing.dropped:
        yield Text("reports that do not count: " + ", ".join(f"{count} {why}" for why, count in standing.dropped.items()))


def _names(devices: tuple[str, ...]) -> str:
    more = f" and {len(devices) - _MOST_NAMES} more" if len(devices) > _MOST_NAMES else ""
    return ", ".join(devices[:_MOST_NAMES]) + more
