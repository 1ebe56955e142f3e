"""A Debian package of the device program: a virtual environment for one Python and one architecture, made here."""

import os
import shutil
import tempfile
import tomllib
from pathlib import Path

from toolchain.device.packages import PACKAGING, install, reproducible, wheel
from toolchain.device.target import Target
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError, run

NAME = "isthmus-agent"
PROGRAM = f"opt/{NAME}"
_SCRIPTS = ("postinst", "prerm", "postrm")
# Tests, headers and stubs of what is installed, a third of it; and notes of who installed it, and from where on this machine.
_LEFT_OUT = (
    *("**/tests", "**/*.pyi", "**/*.h", "**/*.lib", "**/__pycache__"),
    *("*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED", "*.dist-info/direct_url.json", "*.dist-info/uv_*.json"),
)
_VENV = "home = /usr/bin\ninclude-system-site-packages = false\nversion = {}\n"
_SCRIPT = "#!/bin/sh\nset -e\n{}\n{}"
# What is older than the interpreter's wheels cannot load them.
_LIBC = "libc6 (>= 2.28), libstdc++6, "
_CONTROL = """Package: {name}
Version: {version}
Architecture: {architecture}
Maintainer: Isthmus
Section: misc
Priority: optional
Depends: {libc}python3 (>= {python}), python3 (<< {after}), passwd, init-system-helpers, ca-certificates
Installed-Size: {kilobytes}
Description: Isthmus device program
 Keeps this device's AI model up to date, and serves it: signed releases, in waves, which a
 device takes back by itself where they fail on it.
"""


def build(layout: Layout, target: Target, folder: Path) -> Path:
    """Makes the package in a folder. Raises PrepareError: no dpkg-deb here, or what it takes can't be had."""
    if not shutil.which("dpkg-deb"):
        raise PrepareError("dpkg-deb is needed, and is not on this machine. Fix: build it on Debian or Ubuntu (apt-get install dpkg)")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".deb-", dir=folder) as made:
        scratch = Path(made)
        root = scratch / "root"
        modules = root / PROGRAM / "lib" / f"python{target.python_text}" / "site-packages"
        (scratch / "wheel").mkdir()
        install(layout, target, wheel(layout, scratch / "wheel"), modules)
        _prune(modules)
        _environment(layout, target, root)
        _control(layout, target, root)
        version = _version(layout)
        tag = f"_python{target.python_text}" if target.has_interpreter else f"_python{target.python_text}-without-interpreter"
        file = folder / f"{NAME}_{version}{tag}_{target.debian}.deb"
        _modes(root)
        command: list[str | Path] = ["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", root, file]
        run(command, what=f"building {file.name}", fix="free disk space", environ=reproducible(os.environ), hide=("dpkg-deb: building",))
    return file


def _version(layout: Layout) -> str:
    return str(tomllib.loads((layout.project / "agent" / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def _prune(modules: Path) -> None:
    for pattern in _LEFT_OUT:
        for found in list(modules.glob(pattern)):
            if found.is_dir():
                shutil.rmtree(found)
            else:
                found.unlink(missing_ok=True)


def _environment(layout: Layout, target: Target, root: Path) -> None:
    """All that makes a folder of modules a program, and a service."""
    program, packaging = root / PROGRAM, layout.project / PACKAGING
    (program / "bin").mkdir()
    (program / "bin" / "python3").symlink_to(f"/usr/bin/python{target.python_text}")
    (program / "pyvenv.cfg").write_text(_VENV.format(target.python_text), encoding="ascii")
    shutil.copy(packaging / NAME, program / "bin" / NAME)
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin" / NAME).symlink_to(f"/{PROGRAM}/bin/{NAME}")
    units, notes = root / "usr/lib/systemd/system", root / "usr/share/doc" / NAME
    units.mkdir(parents=True)
    shutil.copy(packaging / f"{NAME}.service", units)
    notes.mkdir(parents=True)
    shutil.copy(layout.project / "LICENSE", notes / "copyright")


def _control(layout: Layout, target: Target, root: Path) -> None:
    packaging, control = layout.project / PACKAGING, root / "DEBIAN"
    kilobytes = sum(file.lstat().st_size for file in root.rglob("*") if file.is_file()) // 1024 + 1
    control.mkdir()
    major, minor = target.python
    text = _CONTROL.format(
        name=NAME,
        version=_version(layout),
        architecture=target.debian,
        libc=_LIBC if target.has_interpreter else "",
        python=target.python_text,
        after=f"{major}.{minor + 1}",
        kilobytes=kilobytes,
    )
    (control / "control").write_text(text, encoding="ascii")
    common = (packaging / "common.sh").read_text(encoding="utf-8")
    for name in _SCRIPTS:
        body = (packaging / "debian" / name).read_text(encoding="utf-8")
        (control / name).write_text(_SCRIPT.format(common, body), encoding="utf-8")
        (control / name).chmod(0o755)


def _modes(root: Path) -> None:
    """Whatever this user's umask is."""
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    root.chmod(0o755)
