"""The versions of a model that its servers load, side by side in one folder: a release beside those that devices still have.

DIRECTORY/current                names the folder below that servers look at
DIRECTORY/BASE/N/…               a version: complete once it is there, since servers load what they find, and let go of what is gone
DIRECTORY/BASE/about-N/…         its manifest and golden vectors, which no server looks at

Plain requests are answered by the highest number (TensorFlow Serving's rule), so that whatever is higher than the program's release goes.
A server loads no number twice: another release with a number that is there already begins another BASE, with servers that start anew.
"""

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from isthmus.provider.local.layout import GOLDEN_FILE, MANIFEST_FILE, write_private
from isthmus.provider.local.model_files import files, has_content, inside, is_sound, manifest_in

if TYPE_CHECKING:
    from isthmus.release.manifest import Release

_CURRENT: Final = "current"
_ABOUT: Final = "about-"
# Before the name of what is not complete yet, or not any more: a killed plugin leaves it.
_NEW: Final = ".new-"
_BASE: Final = re.compile(r"[0-9a-f]{12}")


class Versions:
    """Those in one folder. directory: absolute; nobody else's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def base(self) -> Path | None:
        """What servers look at; None where nothing was laid out yet."""
        try:
            name = (self.directory / _CURRENT).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        return self.directory / name if _BASE.fullmatch(name) else None

    @property
    def served(self) -> dict[int, str]:
        """Version → digest of what servers find, from the lowest."""
        return _served(self.base)

    def about(self, base: Path, version: int) -> Path:
        """The folder of a version's manifest and golden vectors."""
        return base / f"{_ABOUT}{version}"

    def base_for(self, version: int, digest: str) -> Path:
        """What servers will look at for a release to be served."""
        from isthmus.digest import Digest

        base = self.base
        joins = base is not None and _served(base).get(version, digest) == digest
        return base if base and joins else self.directory / Digest(digest).short

    def is_intact(self, version: int, digest: str) -> bool:
        """Whether a release is there, whole, and the one that answers plain requests."""
        base = self.base
        if base is None or self.served.get(version) != digest or version != max(self.served):
            return False
        return self._is_whole(base, version)

    def lay_out(self, release: "Release") -> Path:
        """Puts a release beside what is there; nothing is taken out. Returns the base. Raises OSError."""
        version, digest = release.manifest.version, release.digest
        base = self.base_for(version, digest)
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in base.glob(f"{_NEW}*"):
            shutil.rmtree(path, ignore_errors=True)
        if not (base == self.base and self.served.get(version) == digest and self._is_whole(base, version)):
            with tempfile.TemporaryDirectory(prefix=_NEW, dir=base) as temporary:
                for file in files(release.manifest):
                    target = inside(Path(temporary), file)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(release.path(file), target)
                about = self.about(base, version)
                write_private(about / MANIFEST_FILE, release.manifest.to_bytes().decode())
                write_private(about / GOLDEN_FILE, release.path(release.manifest.golden).read_text(encoding="utf-8"))
                if (base / str(version)).exists():
                    (base / str(version)).rename(Path(temporary) / "before")
                (Path(temporary) / str(version)).rename(base / str(version))
        if base != self.base:
            for other in _served(base).keys() - {version}:  # of an update that was broken off
                self._remove(base, other)
            write_private(self.directory / _CURRENT, base.name)
        return base

    def take_out(self, *versions: int) -> None:
        """Servers let go of these. Raises OSError."""
        if base := self.base:
            for version in versions:
                self._remove(base, version)

    def remove_other_bases(self) -> None:
        """Removes what servers looked at before. Raises OSError."""
        for path in self.directory.iterdir() if self.directory.is_dir() else ():
            if _BASE.fullmatch(path.name) and path != self.base:
                shutil.rmtree(path)

    def remove(self) -> None:
        """Removes all that was laid out; the folder too, unless something else is in it."""
        (self.directory / _CURRENT).unlink(missing_ok=True)
        self.remove_other_bases()

    def _is_whole(self, base: Path, version: int) -> bool:
        manifest = manifest_in(self.about(base, version))
        golden = self.about(base, version) / GOLDEN_FILE
        return manifest is not None and has_content(golden, manifest.golden) and all(is_sound(base, it) for it in files(manifest))

    def _remove(self, base: Path, version: int) -> None:
        with tempfile.TemporaryDirectory(prefix=_NEW, dir=base) as temporary:
            for path in (base / str(version), self.about(base, version)):
                if path.exists():
                    path.rename(Path(temporary) / path.name)  # at once: no server sees half of it


def _served(base: Path | None) -> dict[int, str]:
    if base is None or not base.is_dir():
        return {}
    found = {}
    for version in sorted(int(it.name) for it in base.iterdir() if it.name.isdecimal() and it.is_dir()):
        manifest = manifest_in(base / f"{_ABOUT}{version}")
        found[version] = manifest.digest if manifest else ""
    return found
