"""One page about a hybrid as it runs: a row a device, why its requests run where they do, the cloud role, and the policy's maps."""

from pathlib import Path
from typing import Any, Final

from isthmus.migration.running import HEADS, SHARES, Reading, cloud_line, from_devices, maps, notes, rows, turned_away
from isthmus.pages.live import SCRIPT
from isthmus.pages.policy import COLOURS, short
from isthmus.pages.rendering import style, template
from isthmus.words import plain

_TEMPLATE: Final = "hybrid.html.j2"


def html(reading: Reading, *, live: bool = False) -> str:
    """The page, complete. live: it asks the command that serves it for what is new.

    Raises PlatformError where the template engine is not installed.
    """
    css = style() + "".join(Path(__file__).with_name(it).read_text(encoding="utf-8") for it in ("policy.css", "hybrid.css"))
    return template("isthmus.pages", _TEMPLATE).render(**_values(reading), script=SCRIPT if live else "", part="page", css=css)


def live_pages(reading: Reading) -> tuple[str, str]:
    """A live page, and what it has in place of what it shows. Raises PlatformError as `html`."""
    view = template("isthmus.pages", _TEMPLATE).render(**_values(reading), script=SCRIPT, part="view", css="")
    return html(reading, live=True), view


def _values(reading: Reading) -> dict[str, Any]:
    said = [it.routing for it in reading.devices if it.routing]
    recent = sum(sum(it.recent.values()) for it in said)
    elsewhere = sum(it.recent["cloud"] + it.recent["passed_on"] + it.recent["peer"] for it in said)
    return {
        "reading": reading,
        "rows": rows(reading),
        "heads": HEADS,
        "shares": SHARES,
        "maps": maps(reading),
        "notes": [*notes(reading)],
        "cloud": cloud_line(reading),
        "answering": len(said),
        "per_second": plain(from_devices(reading)),
        "turned_away": f"{turned_away(reading):,}",
        "failed": f"{sum(it.totals['failed'] for it in said):,}",
        "elsewhere": f"{100 * elsewhere / recent:.0f} %" if recent else "–",
        "short": short,
        "colours": COLOURS,
        "ms": lambda value: "–" if value is None else f"{value:.3g} ms",
        "number": lambda value: "–" if value is None else plain(value),
    }
