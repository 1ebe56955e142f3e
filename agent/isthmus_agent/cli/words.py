"""What commands print for people."""

from typing import Any

from isthmus_agent.formats import digests
from isthmus_agent.manager.telling import clock_text

_MOST_EVENTS = 12
_PHASES = {
    "idle": "It has nothing to do.",
    "checking": "It asks the store what it is to have.",
    "downloading": "It fetches a release.",
    "verified": "It has fetched a release and looks whether that still holds.",
    "waiting": "It has a release and waits for the time at which it may change.",
    "trial": "It serves a release on probation.",
    "confirmed": "It serves what it is to have.",
    "rolled_back": "It went back to the model before: the release did not keep what it has to in service.",
    "unfit": "It refused the release: the release did not pass its test on this device.",
    "blocked": "It cannot go on at the moment, for a reason of its own; the release is not to blame.",
}


def status(found: dict[str, Any]) -> str:
    """A few lines."""
    wanted = found.get("wanted")
    lines = [
        ("device", f"{found.get('device')} of {found.get('fleet')}"),
        ("program", f"runs, boot {found['boots']}" if found["running"] else "does not run"),
        ("phase", str(found["phase"] or "unknown")),
        ("serves", digests.shown(found["serving"]) if found["serving"] else "nothing"),
        ("confirmed", _content(found["current"])),
        ("before that", _content(found["previous"])),
        ("is to have", f"release {wanted['number']}, {digests.shown(wanted['digest'] or 'none')}" if wanted else "unknown"),
        ("waits for", found["waits_for"]),
    ]
    if found.get("fetched_of_bytes"):
        lines.append(("fetched", f"{found['fetched_bytes']} of {found['fetched_of_bytes']} bytes"))
    if group := found.get("group"):
        lines.append(("group", _group(group)))
    if found.get("reports_fail"):
        lines.append(("reports", f"{found['reports_waiting']} wait: {found['reports_fail']}"))
    return "".join(f"{name:<12} {text}\n" for name, text in lines)


def _group(found: dict[str, Any]) -> str:
    """With whom it works, who does its streams, and what keeps it from it."""
    parts = [f"{found['name']}: {found['state']}"]
    if found.get("members"):
        parts.append(f"with {', '.join(found['members'])}")
    if found.get("failure"):
        parts.append(found["failure"])
    parts += [f"stream {stream} at {owner or 'nobody'}" for stream, owner in found.get("streams", {}).items()]
    return "; ".join([*parts, f"{found['done']} requests done for the group"])


def explanation(found: dict[str, Any]) -> str:
    """Why it is so: the phase in words, the verdict, what it waits for, and what happened last."""
    lines = [_PHASES.get(found["phase"] or "", "It is not known what it was at.")]
    verdict = found["verdict"]
    if verdict and verdict["outcome"] != "confirmed":
        lines.append(f"The verdict on release {verdict['number']}: {verdict['outcome']}, {verdict['reason']}.")
    if found.get("disk", "well") != "well":
        lines.append(f"The disk {found['disk']}.")
    lines += [f"It waits for {found['waits_for']}.", "", *(_event(it) for it in found["events"][-_MOST_EVENTS:])]
    return status(found) + "\n" + "\n".join(lines).rstrip() + "\n"


def _event(entry: dict[str, Any]) -> str:
    times = f" ({entry['times']} times, the last one then)" if entry["times"] > 1 else ""
    return f"{clock_text(entry['at'])}  {entry['what']}{times}"


def _content(found: dict[str, Any] | None) -> str:
    return f"release {found['number']}, {digests.shown(found['digest'])}" if found else "nothing"
