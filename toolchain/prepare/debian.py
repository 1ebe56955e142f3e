"""Programs from Debian's packages, unpacked into the cache; nothing is installed, and apt's own lists stay as they are."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError, exclusive, fingerprint, output_of, run, say, scratch_folder, touch

FIX = "connect to Debian's archive (see /etc/apt/sources.list), or install these packages yourself: {}"
PROGRAMS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
# What is installed on this machine, as Debian notes it.
INSTALLED = Path("/var/lib/dpkg/status")
# What the packages' installation scripts would link; iptables' older kernel interface is the one that every kernel has.
LINKS = {
    "usr/sbin/iptables": "xtables-legacy-multi",
    "usr/sbin/iptables-save": "xtables-legacy-multi",
    "usr/sbin/iptables-restore": "xtables-legacy-multi",
    "usr/sbin/ip6tables": "xtables-legacy-multi",
    "usr/sbin/ip6tables-save": "xtables-legacy-multi",
    "usr/sbin/ip6tables-restore": "xtables-legacy-multi",
}
# An apt with its own lists, archives and locks, without the machine's hooks (they clean the machine's caches).
CONFIG = """
#clear APT::Update;
#clear DPkg;
Dir::State "{state}";
Dir::State::status "{status}";
Dir::Cache "{scratch}/cache";
Debug::NoLocking "true";
APT::Sandbox::User "root";
APT::Get::Assume-Yes "true";
APT::Install-Recommends "false";
Acquire::Retries "3";
Acquire::Languages "none";
Acquire::http::Timeout "30";
quiet "2";
"""


_FOLDER, _ROOT = "debian", "root"
"""In the cache, and below that in the folder of each set of packages."""


def unpacked(cache: Path) -> list[Path]:
    """What `packages` has given before, of whichever packages."""
    return sorted((cache / _FOLDER).glob(f"*/{_ROOT}"))


def packages(layout: Layout, names: Sequence[str], *, whole: bool = False) -> Path:
    """A folder like `/` with the files of Debian's packages `names` and of what they depend on.

    Packages that the machine already has are left out, unless `whole`: then every dependency is there, down to libc, as an image needs it.
    No installation script is run. Takes some 10 seconds the first time.

    Raises:
        PrepareError: no apt here, or the packages can't be had.
    """
    listed = " ".join(sorted(names))
    target = layout.cache / _FOLDER / key(names, whole=whole)
    if (target / _ROOT).is_dir():
        touch(target)
        return target / _ROOT
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise PrepareError(f"Debian's packages {listed} are needed, and there is no apt on this machine. Fix: use Debian or Ubuntu")
    with exclusive(layout.cache / _FOLDER / ".lock", "Debian's packages"):
        if not (target / _ROOT).is_dir():
            say(f"fetching Debian's packages {listed}")
            _fetch(target, list(names), whole=whole)
    return target / _ROOT


def key(names: Sequence[str], *, whole: bool = False) -> str:
    """Names a set of packages in the cache, by all that decides what is in it: the names, how they are unpacked, Debian's release, the
    kind of machine, and what is installed on it, unless the set is `whole`."""
    machine = f"{sys.platform} {os.uname().machine} {whole}"
    return fingerprint(machine, repr(LINKS), Path("/etc/os-release"), *([] if whole else [INSTALLED]), *sorted(names))[:16]


def environment(root: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`environ` with the variables that let the programs below `root` be run by name, with their libraries and extensions."""
    libraries = [folder for folder in _library_folders(root) if folder.is_dir()]
    path = [root / part for part in PROGRAMS if (root / part).is_dir()]
    changed = {
        "PATH": [*path, *filter(None, environ.get("PATH", "").split(os.pathsep))],
        "LD_LIBRARY_PATH": [*libraries, *filter(None, environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))],
    }
    tables = next((folder / "xtables" for folder in libraries if (folder / "xtables").is_dir()), None)
    return {
        **environ,
        **{name: os.pathsep.join(map(str, folders)) for name, folders in changed.items()},
        **({"XTABLES_LIBDIR": str(tables)} if tables else {}),
    }


def _library_folders(root: Path) -> list[Path]:
    folders = [root / "usr/lib", root / "lib"]
    triplets = sorted({folder.name for base in folders for folder in base.glob("*-linux-gnu*") if folder.is_dir()})
    return [base / triplet for triplet in triplets for base in folders] + folders


def _fetch(target: Path, names: list[str], *, whole: bool) -> None:
    with scratch_folder(target.parent) as scratch:
        status = scratch / "status" if whole else INSTALLED
        for folder in ("state/lists/partial", "cache/archives/partial", f"made/{_ROOT}"):
            (scratch / folder).mkdir(parents=True)
        (scratch / "status").touch()
        (scratch / "apt.conf").write_text(CONFIG.format(state=scratch / "state", status=status, scratch=scratch), encoding="ascii")
        fix = FIX.format(" ".join(names))
        apt: list[str | Path] = ["apt-get", "-c", scratch / "apt.conf"]
        # A foreign source that can't be reached is no failure here: if it is needed, the next command says so.
        output_of([*apt, "update"], timeout_seconds=300)
        wanted = names if whole else [name for name in names if not _installed(name)]
        if wanted:
            run([*apt, "install", "--download-only", *wanted], what="fetching Debian's packages", fix=fix)
        for archive in sorted((scratch / "cache" / "archives").glob("*.deb")):
            run(["dpkg-deb", "-x", archive, scratch / "made" / _ROOT], what=f"unpacking {archive.name}", fix="free disk space")
        _link(scratch / "made" / _ROOT)
        shutil.rmtree(target, ignore_errors=True)
        (scratch / "made").rename(target)


def _installed(name: str) -> bool:
    return output_of(["dpkg-query", "-W", "-f", "${db:Status-Status}", name]) == "installed"


def _link(root: Path) -> None:
    for link, destination in LINKS.items():
        file = root / link
        if (file.parent / destination).exists() and not file.is_symlink():
            file.symlink_to(destination)
