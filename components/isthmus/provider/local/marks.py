"""Which stack made a folder of this machine, and in which making of the resource (see `schema.MAKING`): a file in it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.errors import Problem
from isthmus.plugin.handler import Context
from isthmus.plugin.replies import stack_of
from isthmus.provider.local.layout import write_private


def leave(file: Path, context: Context) -> None:
    """Writes it."""
    write_private(file, json.dumps({"stack": stack_of(context.urn), "making": context.making}))


def making(file: Path) -> str:
    """The making; empty where there is no mark."""
    return _found(file).get("making", "")


def foreign(file: Path, what: str, context: Context) -> str:
    """That the mark's folder holds something of another stack, in words; empty where it does not. what: it holds.

    What is of this resource's own making is its stack's, by whatever name.
    """
    found = _found(file)
    owner = found.get("stack", "")
    is_own = owner == stack_of(context.urn) or bool(context.making and found.get("making") == context.making)
    return "" if is_own or not owner else f"{file.parent} holds {what} of another stack, {owner}"


def problems(file: Path, what: str, old_inputs: Mapping[str, Any], context: Context) -> list[Problem]:
    """The same of the property `directory`, at preview.

    One that the state has may be called by the former name of its stack; an update knows it by its making.
    """
    known = os.path.normpath(str(old_inputs.get("directory") or "")) == os.path.normpath(file.parent)
    if known or not (found := foreign(file, what, context)):
        return []
    return [Problem("directory", found, "a folder of this stack's own", "choose another folder, or destroy that stack first")]


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
