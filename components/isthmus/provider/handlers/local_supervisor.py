"""LocalSupervisor: a supervisord in a folder of its own."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from isthmus.errors import IsthmusError, PlatformError, Problem
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, PartlyMadeError, Values
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties
from isthmus.provider.local import marks
from isthmus.provider.local.layout import Layout, unsupported_characters
from isthmus.provider.local.program import Program
from isthmus.provider.local.supervisord import Supervisord

_WHAT = "the supervisor"


class LocalSupervisorHandler(HandlerBase):
    spec = ResourceSpec(
        name="LocalSupervisor",
        description="A supervisord of the stack's own on this machine. Deleting it ends every process under it and removes its folder.",
        inputs={
            "directory": Property("string", "the folder (absolute) that holds everything of it", replaces=True, spelling=os.path.normpath)
        },
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
        return found or marks.problems(Layout(Path(directory)).owner, _WHAT, old_inputs, context)

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = compare(self.spec, old_inputs, inputs)
        # Also where nobody has refreshed the state: without it nothing of the stack runs.
        layout = Layout(Path(str(inputs["directory"])))
        if not changes and layout.is_ours and Supervisord(layout).pid() is None:
            changes.append(Change(("pid",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        return {"pid": UNKNOWN}

    def create(self, inputs: Values, context: Context) -> Created:
        layout = Layout(Path(inputs["directory"]))
        if not _is_usable(layout):
            raise PlatformError(f"{layout.directory} holds something else already")
        if foreign := marks.foreign(layout.owner, _WHAT, context):
            raise PlatformError(f"{foreign}; choose another folder")
        layout.make()
        supervisord = Supervisord(layout)
        outputs = {"pid": supervisord.ensure_running(context)}
        if not supervisord.is_new(outputs["pid"]):  # replaced in place
            supervisord.shut_down(context)
            outputs = {"pid": supervisord.ensure_running(context)}
            try:
                _bring_back(supervisord, context)
            except IsthmusError as error:
                raise PartlyMadeError([str(error)], outputs, inputs["directory"]) from error
        return Created(inputs["directory"], outputs)

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        layout = Layout(Path(id))
        if not inputs and (foreign := marks.foreign(layout.owner, _WHAT, context)):
            raise PlatformError(f"{foreign}, and cannot be imported into this one")
        pid = Supervisord(layout).pid() if layout.is_ours else None
        return None if pid is None else Found({"directory": id}, {"pid": pid})

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        layout = Layout(Path(id))
        if foreign := marks.foreign(layout.owner, _WHAT, context):
            raise PlatformError(f"{foreign}; choose another folder")
        return {"pid": Supervisord(layout).ensure_running(context)}

    def mark(self, id: str, inputs: Values, context: Context) -> None:
        marks.leave(Layout(Path(id)).owner, context)

    def marked(self, id: str, state: Values, context: Context) -> str:
        return marks.making(Layout(Path(id)).owner)

    def delete(self, id: str, state: Values, context: Context) -> None:
        layout = Layout(Path(id))
        Supervisord(layout).shut_down(context)
        if layout.is_ours:
            try:
                layout.remove()
            except OSError as error:
                raise PlatformError(f"cannot remove {error.filename or layout.directory}: {error.strerror}") from error


def _bring_back(supervisord: Supervisord, context: Context) -> None:
    """Waits until every program that ran under the supervisor before runs again: their resources need not be asked."""
    for path in sorted((supervisord.layout.directory / "programs").glob("*.json")):
        program = Program(supervisord, path.stem)
        if saved := program.saved():
            program.reconcile(saved.inputs, saved.owner, replace(context, urn=saved.owner, making=saved.making))


def _is_usable(layout: Layout) -> bool:
    """Whether the folder is ours, or new, or empty, or as good as empty."""
    try:
        return layout.is_ours or layout.is_only_begun
    except FileNotFoundError:
        return True
    except OSError:
        return False
