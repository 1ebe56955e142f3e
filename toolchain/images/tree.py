"""What goes into a layer: a table from paths to entries. Owners and times are not in it: every file is root's, of time 0."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A folder, a symbolic link (`link` is where to), or a file with the content of `source`, else `content`."""

    mode: int = 0o644
    source: Path | None = None
    content: bytes = b""
    link: str = ""
    folder: bool = False


Tree = dict[str, Entry]  # path below the root, without a leading slash → entry


def copy(source: Path) -> Entry:
    """A file as it is on disk, or what a link leads to; executable for all or for nobody, and never setuid."""
    return Entry(0o755 if source.stat().st_mode & 0o111 else 0o644, source)


def copy_folder(source: Path, at: str, wanted: Callable[[str], bool] = lambda _: True) -> Tree:
    """The files below `source` for whose relative paths `wanted` is true. Links to nowhere are left out."""
    found: Tree = {}
    for folder, _, names in os.walk(source):
        for name in names:
            file = Path(folder) / name
            path = file.relative_to(source).as_posix()
            if wanted(path) and file.is_file():
                found[f"{at}/{path}"] = copy(file)
    return found


def with_folders(tree: Tree) -> Tree:
    """The tree, with the folders that its entries lie in."""
    parents = {parent.as_posix() for path in tree for parent in Path(path).parents if parent != Path()}
    return {**{parent: Entry(0o755, folder=True) for parent in parents}, **tree}
