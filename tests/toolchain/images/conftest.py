"""The real images, built once into the project's cache, and containers made of nothing but namespaces and chroot."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from toolchain.images import build
from toolchain.prepare.layout import Layout, load
from toolchain.prepare.steps import PrepareError

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]
DEADLINE_SECONDS = 120.0

# The first releases of Python 3.11 have no filters, and trust what they unpack.
FILTER: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}


@pytest.fixture(scope="session")
def real_layout() -> Layout:
    """The project's own folders and cache."""
    return load(PROJECT)


@pytest.fixture(scope="session")
def archives(real_layout: Layout) -> dict[str, Path]:
    """The three archives; made if they are missing."""
    if not shutil.which("apt-get"):
        pytest.skip("no apt on this machine: Debian's packages can't be had")
    try:
        return build(real_layout)
    except PrepareError as error:
        if "Debian's packages" in str(error):
            pytest.skip(str(error))
        raise


@dataclass(frozen=True)
class Unpacked:
    """An image below `root`, with Docker's `config` object."""

    root: Path
    config: dict[str, Any]


@pytest.fixture(scope="session")
def unpacked(archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Unpacked]]:
    """Unpacks an image once for the whole session."""
    made: dict[str, Unpacked] = {}

    def unpack(name: str) -> Unpacked:
        if name not in made:
            root = tmp_path_factory.mktemp("image")
            root.chmod(0o755)
            with tarfile.open(archives[name]) as archive:

                def read(path: str) -> Any:
                    return archive.extractfile(path)

                manifest = json.load(read("manifest.json"))[0]
                for layer in manifest["Layers"]:
                    with tarfile.open(fileobj=read(layer)) as content:
                        content.extractall(root, **FILTER)  # noqa: S202 our own
                made[name] = Unpacked(root, json.load(read(manifest["Config"]))["config"])
        return made[name]

    yield unpack
    for image in made.values():
        shutil.rmtree(image.root, ignore_errors=True)


# As a strict container runtime does it: own mounts, processes and network, read-only root, no way to more rights.
_SCRIPT = """
set -e
root=$1; temporary=$2; shift 2
mount --make-rprivate /
ip link set lo up 2>/dev/null || true
mount --bind "$root" "$root"
while [ "$1" != -- ]; do mkdir -p "$root$2"; mount --bind "$1" "$root$2"; shift 2; done
shift
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev"
for device in null:3 zero:5 random:8 urandom:9; do mknod -m 666 "$root/dev/${device%:*}" c 1 "${device#*:}"; done
mkdir -m 1777 "$root/dev/shm"
if [ "$temporary" = yes ]; then mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"; fi
mount -o remount,bind,ro "$root"
exec env -i "$@"
"""


@dataclass
class Container:
    """A running image."""

    process: subprocess.Popen[bytes]
    log_file: Path
    started: float = field(default_factory=time.monotonic)

    def log(self) -> str:
        """What it printed so far."""
        return self.log_file.read_text(errors="replace")

    def wait(self) -> int:
        """Its exit status, once it ended by itself."""
        return self.process.wait(DEADLINE_SECONDS)

    def main_process(self) -> int:
        """The process id of its first process, as seen from here."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def end(self) -> None:
        """Ends it, and everything that it started."""
        if self.process.poll() is None:
            # The first process of its namespace, with which the kernel ends the others. That its parent ends is not enough: a program
            # that has changed its user is no longer told so.
            try:
                os.kill(self.main_process(), signal.SIGKILL)
            except (IndexError, ProcessLookupError):
                self.process.kill()
        self.process.wait(DEADLINE_SECONDS)

    def ask(self, *calls: tuple[str, str, str]) -> list[dict[str, Any]]:
        """Sends (method, url, body) one after the other from within its network; the first is repeated until it is answered with 200.

        Returns a dictionary of `status`, `body` and `refused` (the answers before the first 200, 0 for none at all) for each.
        """
        command = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net", sys.executable, str(HERE / "client.py"), str(DEADLINE_SECONDS)]
        with subprocess.Popen([*command, json.dumps(calls)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
            while True:
                try:
                    output, errors = client.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    if self.process.poll() is not None:
                        client.kill()
        assert client.returncode == 0, errors + self.log()
        answers: list[dict[str, Any]] = json.loads(output)
        return answers


@pytest.fixture
def run_image(unpacked: Callable[[str], Unpacked], tmp_path: Path) -> Iterator[Callable[..., Container]]:
    """Runs an image's entrypoint; everything that it started ends with the test."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts, and a user of the image's own")
    programs = {name: shutil.which(name) or "" for name in ("unshare", "nsenter", "setpriv", "chroot", "ip")}
    if missing := [name for name, found in programs.items() if not found]:
        pytest.skip(f"needs {', '.join(missing)}")
    started: list[Container] = []

    def run(
        name: str,
        arguments: Sequence[str] = (),
        *,
        user: str = "",
        environ: dict[str, str] | None = None,
        mounts: dict[Path, str] | None = None,
        writable_tmp: bool = True,
        network: bool = False,
    ) -> Container:
        """arguments: instead of the image's Cmd. network: this machine's, not one of its own."""
        image = unpacked(name)
        variables = [*image.config["Env"], *(f"{key}={value}" for key, value in (environ or {}).items())]
        number = user or image.config["User"].partition(":")[0]
        enter = [programs["setpriv"], "--no-new-privs", programs["chroot"], f"--userspec={number}:{number}", "--groups=", str(image.root)]
        inner = [*variables, *enter, *image.config["Entrypoint"], *(arguments or image.config.get("Cmd", []))]
        binds = [part for source, target in (mounts or {}).items() for part in (str(source), target)]
        options = [str(image.root), "yes" if writable_tmp else "no", *binds, "--", *inner]
        space = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"])]
        log = tmp_path / f"container-{len(started)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen([*space, "sh", "-c", _SCRIPT, "sh", *options], stdout=stream, stderr=subprocess.STDOUT)
        started.append(Container(process, log))
        own = os.readlink("/proc/self/ns/net")
        while not network and process.poll() is None and os.readlink(f"/proc/{process.pid}/ns/net") == own:
            time.sleep(0.01)
        return started[-1]

    yield run
    for container in started:
        container.end()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small SavedModels: m/1 and m/2, cr/1, slow/1."""
    folder = tmp_path_factory.mktemp("models")
    folder.chmod(0o755)
    source = PROJECT / "tests" / "server" / "data" / "make_models.py"
    program = f"import pathlib, runpy; runpy.run_path({str(source)!r})['make_models'](pathlib.Path({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, capture_output=True)
    return folder
