"""Debian's files as an image needs them: programs of that Debian run here, and libraries are found by who needs them."""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from toolchain.images.tree import Entry, Tree, copy
from toolchain.prepare.debian import packages
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError, fingerprint

# All of it, libc included; binutils is what the build uses and no image has.
PACKAGES = ("python3", "libstdc++6", "ca-certificates", "busybox-static", "curl", "binutils")
_NEEDED = re.compile(r"\(NEEDED\).*\[(.+)\]")


class Guest:
    """The unpacked packages below `root`. Nothing of them is installed, and the machine's own libraries are not used."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def fetch(cls, layout: Layout) -> "Guest":
        """Raises PrepareError where Debian's packages can't be had."""
        return cls(packages(layout, PACKAGES, whole=True))

    @cached_property
    def release(self) -> str:
        """Stands for all packages with their versions: Debian has the version on top of every package's changelog."""
        return fingerprint(*sorted(self.root.glob("usr/share/doc/*/changelog*")))

    @cached_property
    def library_folders(self) -> list[Path]:
        """Where the loader looks, with the folder of the machine's kind first (Debian names it x86_64-linux-gnu)."""
        folders = [self.root / "usr/lib", self.root / "lib"]
        return [folder for base in folders for folder in sorted(base.glob("*-linux-gnu*"))] + folders

    @cached_property
    def loader(self) -> Path:
        """The dynamic loader, by the path that programs have in them."""
        for pattern in ("lib64/ld-linux-*.so.*", "lib/ld-linux-*.so.*", "usr/lib64/ld-linux-*.so.*", "usr/lib/ld-linux-*.so.*"):
            for found in sorted(self.root.glob(pattern)):
                return found
        raise PrepareError(f"no dynamic loader below {self.root}. Fix: remove that folder and run the same command again")

    @cached_property
    def python(self) -> str:
        """Python's version as in the names of its files: `3.11`."""
        for found in sorted(self.root.glob("usr/bin/python3.[0-9]*[0-9]")):
            return found.name.removeprefix("python")
        raise PrepareError(f"no Python below {self.root}. Fix: remove that folder and run the same command again")

    def find(self, soname: str) -> Path:
        """The file of a library. Raises PrepareError: no package has it."""
        for folder in self.library_folders:
            if (folder / soname).exists():
                return self.inside(folder / soname)
        raise PrepareError(f"the library {soname} is needed, and none of the packages {' '.join(PACKAGES)} has it")

    def inside(self, path: Path) -> Path:
        """Follows links, with absolute ones counted from `root`."""
        while path.is_symlink():
            target = Path(os.readlink(path))
            path = self.root / target.relative_to("/") if target.is_absolute() else path.parent / target
        return path

    def program(self, name: str) -> Path:
        """The file of a command. Raises PrepareError: no package has it."""
        for folder in ("usr/bin", "bin"):
            if (self.root / folder / name).exists():
                return self.inside(self.root / folder / name)
        raise PrepareError(f"the command {name} is needed, and none of the packages {' '.join(PACKAGES)} has it")

    def run(self, program: str, *arguments: str | Path, variables: Mapping[str, str] | None = None) -> str:
        """Runs a program of the packages by their own loader; returns what it prints. Raises PrepareError: it failed."""
        libraries = os.pathsep.join(map(str, self.library_folders))
        command = [self.inside(self.loader), "--library-path", libraries, self.program(program), *arguments]
        environ = {"PATH": os.defpath, "LC_ALL": "C", **(variables or {})}
        result = subprocess.run(list(map(str, command)), env=environ, capture_output=True, text=True, check=False)
        if result.returncode:
            last = (result.stderr or result.stdout).strip().rpartition("\n")[2]
            raise PrepareError(f"{program} of Debian's packages failed with status {result.returncode}: {last}")
        return result.stdout

    def run_python(self, *arguments: str | Path) -> str:
        """Runs Python of the packages; it writes no bytecode of its own accord, and hashes the same in every run."""
        variables = {"PYTHONHOME": str(self.root / "usr"), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        return self.run(f"python{self.python}", "-s", "-S", *arguments, variables=variables)

    def libraries(self, tree: Tree, below: Tree) -> Tree:
        """The libraries that the programs of `tree` load at their start, and that neither it nor `below` has."""
        present = {Path(path).name for path in (*tree, *below)} | {self.loader.name}
        added: Tree = {}
        queue = [entry.source for entry in tree.values() if entry.source and _is_elf(entry.source)]
        while queue:
            wanted = self._needed(queue) - present
            present |= wanted
            added |= {self.library_path(soname): copy(self.find(soname)) for soname in wanted}
            queue = [self.find(soname) for soname in sorted(wanted)]
        return added

    def loader_entries(self) -> Tree:
        """The loader, where programs look for it in a Debian with one `/usr`."""
        return {f"usr/{self.loader.relative_to(self.root).as_posix().removeprefix('usr/')}": Entry(0o755, self.inside(self.loader))}

    def library_path(self, soname: str) -> str:
        """Where a library lies in an image."""
        return f"usr/lib/{self.library_folders[0].name}/{soname}"

    def _needed(self, files: Iterable[Path]) -> set[str]:
        return set(_NEEDED.findall(self.run("readelf", "--dynamic", "--wide", *files)))


def _is_elf(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"
