"""ModelFolder: the serving variant of a release, laid out for a model server."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from isthmus.errors import PlatformError
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, Values
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties, is_known
from isthmus.provider.handlers.model_base import MAKING_NAME, ModelFolderBase, foreign, refuse_foreign, writing
from isthmus.provider.handlers.releases import find_release
from isthmus.provider.local.layout import GOLDEN_FILE, MANIFEST_FILE, TEMPORARY_SUFFIX, write_private
from isthmus.provider.local.model_files import files, has_content, inside, is_sound, manifest_in

if TYPE_CHECKING:
    from isthmus.release.manifest import Release

# What `read` gives as the digest of a folder whose files are not what its manifest says. No release has it, so `up` mends it.
DAMAGED: Final = "damaged"
# Before the name of what is not complete: a killed plugin leaves it.
_NEW: Final = ".new-"
# Before the name of a version that is not the release's: a model server passes by what is no number.
_ASIDE: Final = "not-served-"


class ModelFolderHandler(ModelFolderBase):
    spec = ResourceSpec(
        name="ModelFolder",
        description="The serving variant of a release, verified and laid out for a model server: DIRECTORY/VERSION/saved_model.pb …",
        inputs={
            "digest": Property("string", "the release's digest"),
            "cache_directory": Property("string", "where this machine keeps releases", compared=False),
            "directory": Property("string", "the folder (absolute)", replaces=True, spelling=os.path.normpath),
        },
        outputs={"version": Property("integer", "the version's number, the name of the folder inside")},
    )

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        """Looks at the folder as well, so that `up` mends it without a refresh: a server that is started next would serve what is there."""
        changes = list(compare(self.spec, old_inputs, inputs))
        if not changes and not _is_intact(Path(inputs["directory"])):
            changes.append(Change(("content",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        if not is_known([inputs["digest"], inputs["cache_directory"]]):
            return {"version": UNKNOWN}
        return {"version": find_release(inputs).manifest.version}

    def create(self, inputs: Values, context: Context) -> Created:
        return Created(inputs["directory"], self._lay_out(inputs, context))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return self._lay_out(inputs, context)

    def _lay_out(self, inputs: Values, context: Context) -> Properties:
        release, directory = find_release(inputs), Path(inputs["directory"])
        refuse_foreign(directory, context)
        with writing(directory):
            aside = _lay_out(release, directory)
        if aside:
            context.warn(f"{directory} had versions that are not the release's, set aside as {', '.join(aside)}")
        return {"version": release.manifest.version}

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        manifest = manifest_in(Path(id))
        if manifest is None:
            return None
        if not inputs and (whose := foreign(id, context)):
            raise PlatformError(f"{whose}, and cannot be imported into this one")
        digest = manifest.digest if _is_intact(Path(id)) else DAMAGED
        return Found({**inputs, "directory": id, "digest": digest}, {"version": manifest.version})

    def delete(self, id: str, state: Values, context: Context) -> None:
        directory = Path(id)
        manifest = manifest_in(directory)
        versions = {str(state["version"])} if "version" in state else set()
        if manifest is not None:
            versions.add(str(manifest.version))
        for version in versions:
            shutil.rmtree(directory / version, ignore_errors=True)
        for name in (MANIFEST_FILE, GOLDEN_FILE, MAKING_NAME):
            (directory / name).unlink(missing_ok=True)
        _clear(directory)
        # What others put there is theirs.
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()


def _is_intact(directory: Path) -> bool:
    """Whether the folder holds what its manifest says, and no other version, which a model server would serve instead."""
    manifest = manifest_in(directory)
    return (
        manifest is not None
        and has_content(directory / GOLDEN_FILE, manifest.golden)
        and all(is_sound(directory, file) for file in files(manifest))
        and _versions(directory) == {str(manifest.version)}
    )


def _versions(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.name.isdecimal()}


def _lay_out(release: "Release", directory: Path) -> list[str]:
    """Puts the version's folder in place complete, at once, and then removes the version that was there before.

    Returns the new names of what lay there as other versions, by somebody's hand: it is kept, and not served any more.
    """
    _clear(directory)
    before = manifest_in(directory)
    if before is None and directory.is_dir() and any(directory.iterdir()):
        raise PlatformError(f"{directory} holds something else already; remove it, or choose another folder")
    directory.mkdir(parents=True, exist_ok=True)
    version = str(release.manifest.version)
    with tempfile.TemporaryDirectory(prefix=_NEW, dir=directory) as temporary:
        for file in files(release.manifest):
            target = inside(Path(temporary), file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(release.path(file), target)
        # Named first: after a crash in between, the folder is seen as damaged, not as somebody else's.
        write_private(directory / MANIFEST_FILE, release.manifest.to_bytes().decode())
        write_private(directory / GOLDEN_FILE, release.path(release.manifest.golden).read_text(encoding="utf-8"))
        if (directory / version).exists():
            (directory / version).rename(Path(temporary) / "before")
        (Path(temporary) / version).rename(directory / version)
    if before is not None and str(before.version) != version:
        shutil.rmtree(directory / str(before.version), ignore_errors=True)
    return [_set_aside(directory / other) for other in sorted(_versions(directory) - {version})]


def _clear(directory: Path) -> None:
    """Removes what a plugin that was killed left incomplete."""
    for path in directory.glob(f"{_NEW}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in directory.glob(f".*{TEMPORARY_SUFFIX}"):
        path.unlink(missing_ok=True)


def _set_aside(path: Path) -> str:
    names = (f"{_ASIDE}{path.name}" + (f"-{count}" if count else "") for count in itertools.count())
    target = next(target for name in names if not (target := path.with_name(name)).exists())
    path.rename(target)
    return target.name
