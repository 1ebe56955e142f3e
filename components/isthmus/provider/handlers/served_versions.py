"""ServedVersions: a release beside those before it, in the folder from which running servers load; RetiredVersions: it alone.

Between the two a fleet goes over to the release, wave by wave. Which versions are there is read from the folder, and remembered nowhere.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from isthmus.digest import Digest
from isthmus.errors import IsthmusError
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, PartlyMadeError, Values, describe, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties, is_known
from isthmus.provider.handlers.model_base import MAKING_NAME, ModelFolderBase, refuse_foreign, writing
from isthmus.provider.handlers.releases import find_release
from isthmus.provider.local.loading import Servers
from isthmus.provider.local.versions import Versions

_GONE: Final = "gone"
"""What `read` gives as the digest where another release answers plain requests. No release has it, so `up` mends it."""

PLACE: Final = {
    "directory": Property("string", "the folder of the versions (absolute)", replaces=True, spelling=os.path.normpath),
    "supervisor": Property("string", "the folder of the servers' LocalSupervisor", compared=False),
    "program": Property("string", "the servers' program under it", compared=False),
    "model_name": Property("string", "what the servers call the model", compared=False),
    "digest": Property("string", "the release's digest"),
}
"""Inputs of whatever changes what running servers have."""


class ServedVersionsHandler(ModelFolderBase):
    spec = ResourceSpec(
        name="ServedVersions",
        description="A release beside those before it, in the folder from which the servers of a service load.",
        inputs={**PLACE, "cache_directory": Property("string", "where this machine keeps releases", compared=False)},
        outputs={
            "base": Property("string", "the folder that servers look at"),
            "about": Property("string", "the folder of the release's manifest and golden vectors"),
            "version": Property("integer", "the release's version"),
        },
    )

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        """Looks at the folder as well: an abort takes the release out of it, and the next update brings it back."""
        changes = list(compare(self.spec, old_inputs, inputs))
        if not changes and not Versions(Path(inputs["directory"])).is_intact(int(state.get("version", -1)), inputs["digest"]):
            changes.append(Change(("content",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        if not is_known([inputs["digest"], inputs["cache_directory"], inputs["directory"]]):
            return dict.fromkeys(self.spec.outputs, UNKNOWN)
        version, versions = find_release(inputs).manifest.version, Versions(Path(inputs["directory"]))
        return _outputs(versions, versions.base_for(version, inputs["digest"]), version)

    def create(self, inputs: Values, context: Context) -> Created:
        return Created(inputs["directory"], self._bring(inputs, context, inputs["directory"]))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return self._bring(inputs, context, id)

    def _bring(self, inputs: Values, context: Context, id: str) -> Properties:
        release, versions, servers = find_release(inputs), Versions(Path(inputs["directory"])), servers_of(inputs)
        refuse_foreign(inputs["directory"], context)
        before, had, version = versions.base, versions.served, release.manifest.version
        with writing(versions.directory):
            base = versions.lay_out(release)
        outputs = _outputs(versions, base, version)
        if base != before:  # servers start anew, or for the first time
            return outputs
        try:
            servers.await_loaded(version, versions.about(base, version), context)
            higher = [it for it in versions.served if it > version]
            versions.take_out(*higher)
            servers.await_gone(higher, context)
        except IsthmusError as error:
            failed = f"cloud side, before the first wave: version {version} ({Digest(inputs['digest']).short}) does not serve: {error}"
            is_new = had and version not in had
            then = _taken_back(versions, servers, version, context) if is_new else "it was there before, and stays"
            fix = "Fix: bring a release that serves, or the one before; the next `pulumi up` begins here"
            raise PartlyMadeError([f"{failed}. No wave was opened; {then}. {fix}"], outputs, id) from error
        return outputs

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("ServedVersions", "the id says nothing of the servers")
        versions = Versions(Path(id))
        if versions.base is None:
            return None
        is_intact = versions.is_intact(int(state.get("version", -1)), str(inputs["digest"]))
        outputs = {name: state.get(name) for name in self.spec.outputs}
        return Found({**inputs, "digest": inputs["digest"] if is_intact else _GONE}, outputs)

    def delete(self, id: str, state: Values, context: Context) -> None:
        Versions(Path(id)).remove()
        (Path(id) / MAKING_NAME).unlink(missing_ok=True)
        with suppress(OSError):  # what others put there is theirs
            Path(id).rmdir()


class RetiredVersionsHandler(HandlerBase):
    spec = ResourceSpec(
        name="RetiredVersions",
        description="What is left of a ServedVersions once nobody asks for the versions before the release: it alone.",
        inputs={**PLACE, "passed": Property("boolean", "whether nobody has the versions before any more")},
        outputs={"versions": Property("array", "that are served", items=Property("integer", "a version"))},
    )

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = list(compare(self.spec, old_inputs, inputs))
        served = Versions(Path(inputs["directory"])).served
        if not changes and inputs["passed"] is True and set(served.values()) - {inputs["digest"]}:
            changes.append(Change(("versions",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        return {"versions": UNKNOWN}

    def create(self, inputs: Values, context: Context) -> Created:
        return Created(inputs["directory"], self._retire(inputs, context))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return self._retire(inputs, context)

    def _retire(self, inputs: Values, context: Context) -> Properties:
        versions = Versions(Path(inputs["directory"]))
        if inputs["passed"] and inputs["digest"] in versions.served.values():
            old = [version for version, digest in versions.served.items() if digest != inputs["digest"]]
            with writing(versions.directory):
                versions.take_out(*old)
                versions.remove_other_bases()
            servers_of(inputs).await_gone(old, context)
        return {"versions": list(versions.served)}

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        if not inputs:
            raise not_importable("RetiredVersions", "it is an act, not a thing")
        versions = Versions(Path(id))
        return None if versions.base is None else Found(dict(inputs), {"versions": list(versions.served)})

    def delete(self, id: str, state: Values, context: Context) -> None:
        """Nothing comes back: what is served goes with the ServedVersions."""


def servers_of(inputs: Mapping[str, Any]) -> Servers:
    """The servers that inputs with `PLACE` name."""
    return Servers(inputs["supervisor"], inputs["program"], inputs["model_name"])


def withdraw(place: Mapping[str, Any], context: Context) -> str:
    """Takes a release back from its servers, if an older one is beside it. place: as `PLACE`. Returns what was done, in words.

    Raises PlatformError, OSError.
    """
    versions = Versions(Path(place["directory"]))
    newest = max(versions.served, default=0)
    older = [it for it in versions.served if it != newest]
    if versions.served.get(newest) != place["digest"]:
        return f"the cloud role answers with version {newest}, which is another release"
    if not older:
        return (
            f"the cloud role goes on with it: no version lower than {newest} is there. Give each release a `version` above the last one's"
        )
    versions.take_out(newest)
    servers_of(place).await_gone([newest], context)
    return f"the cloud role has taken version {newest} back too, and answers with version {older[-1]}"


def _taken_back(versions: Versions, servers: Servers, version: int, context: Context) -> str:
    """Takes out a release that did not come to serve. Returns what happened, in words."""
    # Under a context of its own: this must happen also after a Ctrl-C.
    context = Context(context.urn, progress=context.progress)
    try:
        versions.take_out(version)
        servers.await_gone([version], context)
    except (IsthmusError, OSError) as error:
        return f"it could not be taken back: {describe(error)}"
    return f"it was taken back, and version {max(versions.served)} answers as before"


def _outputs(versions: Versions, base: Path, version: int) -> Properties:
    return {"base": str(base), "about": str(versions.about(base, version)), "version": version}
