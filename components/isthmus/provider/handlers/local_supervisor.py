"""LocalSupervisor: a supervisord in a folder of its own."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from isthmus.errors import PlatformError, Problem
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, Values
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties
from isthmus.provider.local.layout import Layout, unsupported_characters
from isthmus.provider.local.supervisord import Supervisord


class LocalSupervisorHandler(HandlerBase):
    spec = ResourceSpec(
        name="LocalSupervisor",
        description="A supervisord of the stack's own on this machine. Deleting it ends every process under it and removes its folder.",
        inputs={"directory": Property("string", "the folder (absolute) that holds everything of it", replaces=True)},
        outputs={"pid": Property("integer", "the process id of the supervisord")},
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        directory = inputs["directory"]
        if directory is UNKNOWN:
            return ()
        found = []
        if not os.path.isabs(directory) or os.path.normpath(directory) != directory.rstrip("/"):
            found.append(Problem("directory", f"is {directory!r}", "an absolute path without . or .."))
        signs = unsupported_characters(directory)
        if signs:
            found.append(Problem("directory", f"holds {' and '.join(map(repr, signs))}", "a path that supervisord can spell"))
        if not found and not _is_usable(Layout(Path(directory))):
            what = f"{directory} holds something else already"
            found.append(Problem("directory", what, "a folder that is new or empty", "remove what is there, or choose another folder"))
        return found

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        return {"pid": UNKNOWN}

    def create(self, inputs: Values, context: Context) -> Created:
        layout = Layout(Path(inputs["directory"]))
        if not _is_usable(layout):
            raise PlatformError(f"{layout.directory} holds something else already")
        layout.make()
        return Created(inputs["directory"], {"pid": Supervisord(layout).ensure_running(context)})

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        layout = Layout(Path(id))
        pid = Supervisord(layout).pid() if layout.is_ours else None
        return None if pid is None else Found({"directory": id}, {"pid": pid})

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return {"pid": Supervisord(Layout(Path(id))).ensure_running(context)}

    def delete(self, id: str, state: Values, context: Context) -> None:
        layout = Layout(Path(id))
        Supervisord(layout).shut_down(context)
        if layout.is_ours:
            try:
                shutil.rmtree(layout.directory)
            except OSError as error:
                raise PlatformError(f"cannot remove {error.filename or layout.directory}: {error.strerror}") from error


def _is_usable(layout: Layout) -> bool:
    """Whether the folder is ours, or new, or empty."""
    try:
        return layout.is_ours or not any(layout.directory.iterdir())
    except FileNotFoundError:
        return True
    except OSError:
        return False
