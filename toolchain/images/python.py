"""The serving image's Python: Debian's interpreter, and the packages that the server needs, at the versions of the project's lock."""

import os
import re
import shutil
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from toolchain.images.guest import Guest
from toolchain.images.tree import Entry, Tree, copy, copy_folder
from toolchain.prepare.environment import NETWORK, RUNTIME_LOCK, uv_variables
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import ATTEMPTS, PrepareError, run

OVERRIDES = "toolchain/images/overrides.txt"
SITE = "usr/local/lib/python{}/dist-packages"  # on the path of Debian's Python
# Of the standard library: what needs a terminal, a data base or sound, what tests Python itself, and manuals.
STANDARD_LIBRARY_LEFT_OUT = (
    *("lib-dynload/_curses*", "lib-dynload/readline.*", "lib-dynload/_dbm.*", "lib-dynload/_sqlite3.*", "lib-dynload/nis.*"),
    *("lib-dynload/ossaudiodev.*", "lib-dynload/_test*", "lib-dynload/xxlimited*", "lib-dynload/_xxtestfuzz.*"),
    *("curses/*", "dbm/*", "sqlite3/*", "idlelib/*", "pydoc_data/*", "ensurepip/*", "sitecustomize.py", "EXTERNALLY-MANAGED"),
)
# Of the packages: headers and sources, tests, type stubs, commands, pip's notes, and MLIR's and XLA's plug-ins, which only converters load.
PACKAGES_LEFT_OUT = (
    *("tensorflow/include/*", "tensorflow/xla_aot_runtime_src/*", "tensorflow/compiler/mlir/stablehlo/stablehlo_extension.so"),
    *("tensorflow/compiler/tf2xla/ops/_xla_ops.so", "numpy/_core/include/*", "numpy/_core/lib/*", "*/tests/*", "*_test.py"),
    *("*.h", "*.c", "*.pyi", "*.pyx", "*.pxd", "*/py.typed", "bin/*", "*-stubs/*", "*.dist-info/RECORD", "*.dist-info/INSTALLER"),
    *("*.dist-info/REQUESTED", "*.dist-info/direct_url.json", "*.dist-info/uv_cache.json", "*.pyc"),
)
# More than a quarter of these is a table of symbols for debuggers. Libraries that were patched to fit a wheel must stay as they are.
STRIPPED = ("tensorflow/libtensorflow_cc.so.2", "tensorflow/libtensorflow_framework.so.2")


def requirements(layout: Layout) -> list[str]:
    """What the extra `server` of the package asks for."""
    project = tomllib.loads((layout.project / "components" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: list[str] = project["optional-dependencies"]["server"]
    return found


def locked(lock: str, pins: set[str]) -> str:
    """The entries of a lock file, hashes included, for these `name==version`. Raises PrepareError: one is not in it."""
    entries = {entry.split()[0]: entry for entry in re.split(r"\n(?=[A-Za-z0-9])", lock)}
    if missing := pins - entries.keys():
        raise PrepareError(f"{', '.join(sorted(missing))} is needed for the serving image and not in {RUNTIME_LOCK}. Fix: run `make lock`")
    return "\n".join(entries[pin] for pin in sorted(pins)) + "\n"


def interpreter(guest: Guest, scratch: Path) -> Tree:
    """Python, its compiled standard library, and the machine's libraries that these need apart from the base layer's."""
    library = f"usr/lib/python{guest.python}"
    tree = copy_folder(guest.root / library, library, lambda path: not _left_out(path, STANDARD_LIBRARY_LEFT_OUT))
    tree |= bytecode(guest, tree, scratch)
    tree[f"usr/bin/python{guest.python}"] = copy(guest.program(f"python{guest.python}"))
    tree["usr/bin/python3"] = Entry(link=f"python{guest.python}")
    return tree


def site_packages(layout: Layout, guest: Guest, scratch: Path) -> Tree:
    """The packages that the server needs, compiled. Raises PrepareError: the package index can't be reached, or the lock lacks one."""
    at, installed = SITE.format(guest.python), scratch / "site"
    target: list[str | Path] = ["--python-version", guest.python, "--python-platform", f"{os.uname().machine}-manylinux_2_28"]
    uv: list[str | Path] = [layout.venv / "bin" / "uv", "pip"]
    variables = {**uv_variables(layout), "UV_PYTHON": str(layout.venv / "bin" / "python")}
    wanted, resolved, subset = scratch / "wanted.in", scratch / "resolved.txt", scratch / "subset.txt"
    wanted.write_text("\n".join(requirements(layout)), encoding="utf-8")
    options: list[str | Path] = ["--quiet", "--no-header", "--no-annotate", "--constraint", layout.project / RUNTIME_LOCK]
    command: list[str | Path] = [*uv, "compile", *options, "--overrides", layout.project / OVERRIDES, *target, wanted, "-o", resolved]
    run(command, what="resolving the server's packages", fix=NETWORK, environ=variables, attempts=ATTEMPTS)
    pins = set(resolved.read_text(encoding="utf-8").split())
    subset.write_text(locked((layout.project / RUNTIME_LOCK).read_text(encoding="utf-8"), pins), encoding="utf-8")
    command = [*uv, "install", "--quiet", "--target", installed, "--no-deps", "--require-hashes", *target, "-r", subset]
    run(command, what="installing the server's packages", fix=NETWORK, environ=variables, attempts=ATTEMPTS)
    for name in STRIPPED:
        guest.run("strip", "--strip-unneeded", "-o", scratch / Path(name).name, installed / name)
        # Not in place: the file may be a hard link into uv's cache.
        os.replace(scratch / Path(name).name, installed / name)
    tree = copy_folder(installed, at, lambda path: not _left_out(path, PACKAGES_LEFT_OUT))
    return tree | bytecode(guest, tree, scratch)


def bytecode(guest: Guest, tree: Tree, scratch: Path) -> Tree:
    """The compiled files of all modules in `tree`, which the interpreter loads without a look at the sources.

    One process compiles them in a fixed order: what several processes write differs from run to run.
    """
    root = scratch / "compiled"
    shutil.rmtree(root, ignore_errors=True)
    for path, entry in tree.items():
        if path.endswith(".py"):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if entry.source:
                shutil.copyfile(entry.source, root / path)
    guest.run_python("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/", root)
    return {file.relative_to(root).as_posix(): Entry(source=file) for file in root.rglob("*.pyc")}


def _left_out(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)
