"""Which stack made a folder of this machine, and in which making of the resource (see `schema.MAKING`): a file in it."""

import json
from collections.abc import Mapping
from pathlib import Path

from isthmus.plugin.handler import Context
from isthmus.plugin.replies import stack_of
from isthmus.provider.local.layout import write_private


def leave(file: Path, context: Context) -> None:
    """Writes it."""
    write_private(file, json.dumps({"stack": stack_of(context.urn), "making": context.making}))


def making(file: Path) -> str:
    """The making; empty where there is no mark."""
    return _found(file).get("making", "")


def other_stack(file: Path, context: Context) -> str:
    """The stack that made it, where it is another one. One of this resource's own making is its stack's, by whatever name."""
    found = _found(file)
    owner = found.get("stack", "")
    is_own = owner == stack_of(context.urn) or bool(context.making and found.get("making") == context.making)
    return "" if is_own else owner


def _found(file: Path) -> Mapping[str, str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {"making": text}  # as model folders had it before their stack was in it
    return {name: str(value) for name, value in found.items()} if isinstance(found, dict) else {"making": text}
