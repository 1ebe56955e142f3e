"""What pages share that a command of this machine keeps up to date: a script that asks for what is new, and shows it in place."""

from pathlib import Path
from typing import Final

SCRIPT: Final = "/live.js"
"""Where a live page finds `script()`, and what is new below `VIEW`."""
VIEW: Final = "/view"


def script() -> str:
    """Of a live page."""
    return Path(__file__).with_name("live.js").read_text(encoding="utf-8")
