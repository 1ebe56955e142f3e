"""The script that fetches a release, as a machine's own shells run it, against a real store."""

import hashlib
import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolchain.prepare import debian

from isthmus.errors import IntegrityError
from isthmus.folders import cache_folder
from isthmus.release import fetch, published
from isthmus.release.fetch import FetchFile, FetchPlan
from isthmus.release.manifest import GOLDEN_NAME, SERVING, FileEntry, Manifest, Record, Release, TensorSpec, Timing, Variant
from isthmus.release.store import Store

pytestmark = pytest.mark.slow

PREFIX = "services/a b/"
CONTENT = {
    "serving/3/saved_model.pb": b"a graph" * 1000,
    "serving/3/variables/variables.data-00000-of-00001": bytes(range(256)) * 4000,
    "serving/3/assets/words & it's $HOME + 100 %.txt": b"words",
    "serving/3/assets/empty": b"",
}
MODEL = "serving/3/saved_model.pb"


def shells() -> list[list[str]]:
    """The shells of Debian's images and of Alpine's, as far as they are here; where Docker's tests ran, busybox is."""
    unpacked = [root / "bin" / "busybox" for root in debian.unpacked(cache_folder())]
    busybox = shutil.which("busybox") or next((str(program) for program in unpacked if program.exists()), None)
    return [[shutil.which("dash") or "sh"], *([[busybox, "sh"]] if busybox else [])]


@pytest.fixture(params=shells(), ids=lambda shell: Path(shell[-1]).name)
def shell(request: pytest.FixtureRequest) -> list[str]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not on PATH")
    return list(request.param)


@pytest.fixture
def release(tmp_path: Path) -> Release:
    directory = tmp_path / "release"
    entries = []
    for path, content in {**CONTENT, GOLDEN_NAME: b"{}"}.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
        entries.append(FileEntry(path, len(content), hashlib.sha256(content).hexdigest()))
    spec, timing = TensorSpec("x", "float32", (-1,)), Timing(1.0, 1.0, 1.0, 10)
    variant = Variant(SERVING, "int8", tuple(entries[:-1]), None, 0.0)
    manifest = Manifest("digits", 3, "int8", "serving_default", (spec,), (spec,), (variant,), entries[-1], 0.1, None, 0, ())
    return Release(directory, manifest, Record("any", "2026-01-01T00:00:00+00:00", timing, timing))


class Machine:
    """Where the script runs: a folder, and the variables."""

    def __init__(self, shell: list[str], target: Path, plan: FetchPlan, store: Store) -> None:
        self.shell, self.target, self.plan = shell, target, plan
        address = store.address
        self.variables = fetch.environment(
            endpoint=address.endpoint,
            region=address.region,
            bucket=store.bucket,
            prefix=PREFIX,
            digest=plan.digest,
            target=str(target),
        )
        self.secrets = {fetch.ACCESS_KEY_VARIABLE: address.access_key, fetch.SECRET_KEY_VARIABLE: address.secret_key}
        self.path = os.environ["PATH"]

    def run(self, attempts: int = 2, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": self.path, **self.variables, **self.secrets, **variables}
        command = [*self.shell, "-c", self.plan.script(attempts)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    def check(self) -> subprocess.CompletedProcess[str]:
        command = [*self.shell, "-c", self.plan.check_script()]
        environment = {"PATH": self.path, "TARGET": str(self.target)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    def file(self, path: str) -> Path:
        return self.target / path.removeprefix("serving/")


@pytest.fixture
def machine(shell: list[str], tmp_path: Path, release: Release, store: Store) -> Machine:
    published.publish(store, PREFIX, release)
    return Machine(shell, tmp_path / "target", fetch.fetch_plan(release.manifest), store)


def key_of(release: Release, path: str) -> str:
    return published.folder_key(PREFIX, release.digest) + path


def wrapper(machine: Machine, folder: Path, body: str) -> None:
    """Puts a `curl` of the test's own before the real one; $CURL is the real one."""
    folder.mkdir(exist_ok=True)
    # The script limits how much curl may write; the wrapper's notes are not meant.
    (folder / "curl").write_text(f"#!/bin/sh\nulimit -S -f unlimited\nCURL={shutil.which('curl')}\n{body}\n")
    (folder / "curl").chmod(0o755)
    machine.path = f"{folder}:{os.environ['PATH']}"


def test_a_release_is_fetched_whole_and_others_may_read_it(machine: Machine) -> None:
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert {path: machine.file(path).read_bytes() for path in CONTENT} == CONTENT
    assert sorted(path.name for path in machine.target.iterdir()) == ["3"]
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444 for path in machine.target.rglob("*"))
    assert machine.check().returncode == 0


def test_a_second_run_fetches_nothing(machine: Machine, tmp_path: Path) -> None:
    assert machine.run().returncode == 0
    wrapper(machine, tmp_path / "bin", "exit 99")
    done = machine.run()
    assert (done.returncode, done.stderr) == (0, "")
    shutil.rmtree(machine.target)
    assert machine.run(attempts=1).returncode == 1  # the wrapper would have been noticed


def test_what_was_fetched_before_it_was_interrupted_is_not_fetched_again(machine: Machine, tmp_path: Path, release: Release) -> None:
    log = tmp_path / "urls"
    note = f'for url in "$@"; do :; done; echo "$url" >>{log}'
    wrapper(machine, tmp_path / "bin", f'{note}; case "$url" in *variables*) exit 56;; esac; exec "$CURL" "$@"')
    assert machine.run(attempts=1).returncode == 1
    assert not (machine.target / "3").exists()
    log.unlink()
    wrapper(machine, tmp_path / "bin", f'{note}; exec "$CURL" "$@"')
    assert machine.run().returncode == 0
    assert machine.check().returncode == 0
    assert "saved_model.pb" not in log.read_text()
    assert "variables" in log.read_text()


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(bytes(path.stat().st_size))])
def test_a_damaged_folder_is_seen_and_mended(machine: Machine, damage: Callable[[Path], None]) -> None:
    assert machine.run().returncode == 0
    damage(machine.file(MODEL))
    seen = machine.check()
    assert seen.returncode == 1
    assert seen.stderr.strip().endswith("3/saved_model.pb is missing or not what the manifest names")
    assert machine.run().returncode == 0
    assert machine.check().returncode == 0
    assert machine.file(MODEL).read_bytes() == CONTENT[MODEL]


def failed(done: subprocess.CompletedProcess[str], machine: Machine) -> str:
    """The one line that a failed run says; nothing half-made is under the final name."""
    assert done.returncode == 1
    assert not (machine.target / "3").exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"release {machine.plan.digest} ")
    assert machine.secrets[fetch.SECRET_KEY_VARIABLE] not in done.stdout + done.stderr
    return line


def test_tampered_content_of_the_same_size_is_refused_and_would_pass_unverified(machine: Machine, release: Release, store: Store) -> None:
    forged = CONTENT[MODEL].replace(b"graph", b"EVIL!")
    store.put(key_of(release, MODEL), forged)
    assert store.get(key_of(release, MODEL), max_bytes=len(forged)) == forged
    trusting = FetchFile(MODEL, hashlib.sha256(forged).hexdigest(), len(forged))
    plan, files = machine.plan, machine.plan.files
    machine.plan = FetchPlan(plan.digest, plan.version, plan.manifest_bytes, (trusting, *files[1:]))
    assert machine.run().returncode == 0
    assert machine.file(MODEL).read_bytes() == forged
    shutil.rmtree(machine.target)
    machine.plan = plan
    assert f"{MODEL} in bucket {store.bucket} of {store.address.endpoint} has the wrong content" in failed(machine.run(), machine)


def test_an_object_larger_than_named_is_refused(machine: Machine, release: Release, store: Store) -> None:
    store.put(key_of(release, MODEL), CONTENT[MODEL] + b"x")
    assert f"has more than the {len(CONTENT[MODEL])} bytes" in failed(machine.run(), machine)


def test_a_release_that_was_never_published_is_named(machine: Machine, release: Release, store: Store) -> None:
    published.remove(store, PREFIX, release.digest)
    assert f"is not in bucket {store.bucket} of {store.address.endpoint}" in failed(machine.run(), machine)


def test_an_object_that_is_missing_is_named(machine: Machine, release: Release, store: Store) -> None:
    store.delete([key_of(release, MODEL)])
    assert f"is not whole: there is no {MODEL}" in failed(machine.run(), machine)


@pytest.mark.parametrize("name", [fetch.ACCESS_KEY_VARIABLE, fetch.SECRET_KEY_VARIABLE])
def test_wrong_credentials_are_refused_without_being_shown(machine: Machine, name: str) -> None:
    done = machine.run(**{name: 'wrong-secret"\\'})
    assert "refuses the credentials" in failed(done, machine)
    assert "wrong-secret" not in done.stdout + done.stderr


def test_a_store_that_cannot_be_reached_is_asked_again_and_then_named(machine: Machine) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = machine.run(RELEASE_URL=f"{url}/bucket", STORE=url)
    assert done.stdout.count("again in") == 1
    assert f"no manifest.json from {url} in 2 attempts (curl: (7)" in failed(done, machine)


@pytest.fixture
def endless_store() -> Iterator[str]:
    """Sends more than it was asked for, and does not say how much."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(1 << 14):
                    self.wfile.write(bytes(1 << 16))
            except OSError:
                pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_answer_without_an_end_does_not_fill_the_disk(machine: Machine, endless_store: str) -> None:
    done = machine.run(RELEASE_URL=f"{endless_store}/bucket", STORE=endless_store)
    failed(done, machine)
    assert sum(path.stat().st_size for path in machine.target.rglob("*") if path.is_file()) < 1 << 20


def test_the_credentials_are_in_no_argument_list(machine: Machine, tmp_path: Path) -> None:
    log = tmp_path / "arguments"
    scan = "for arguments in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$arguments; echo; done"
    wrapper(machine, tmp_path / "bin", f'({scan}) >>{log} 2>/dev/null; exec "$CURL" "$@"')
    assert machine.run().returncode == 0
    seen = log.read_text(errors="replace")
    assert "--aws-sigv4" in seen
    assert not [secret for secret in machine.secrets.values() if secret in seen]


def test_the_scan_finds_a_credential_that_is_an_argument(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "import glob; print([open(p,'rb').read() for p in glob.glob('/proc/self/cmdline')])",
        "test-secret-key",
    ]
    assert "test-secret-key" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


HASH = "0" * 64


@pytest.mark.parametrize(
    "path",
    ["serving/3/../../etc/passwd", "serving/4/x", "serving/3", "serving/3/", "/serving/3/x", "serving/3//x", "edge/3/x", "serving/3/./x",
     "serving/3/a\nb", "serving/3/a\\b", "", "golden.json"],
)  # fmt: skip
def test_a_path_out_of_the_versions_folder_is_impossible(path: str) -> None:
    with pytest.raises(IntegrityError, match="outside of serving/3"):
        FetchPlan(f"sha256:{HASH}", 3, 1, (FetchFile(path, HASH, 1),))


@pytest.mark.parametrize(
    ("digest", "version", "sha256", "size"),
    [("latest", 3, HASH, 1), (f"sha256:{HASH}; rm", 3, HASH, 1), (f"sha256:{HASH}", 0, HASH, 1), (f"sha256:{HASH}", 3, "$(id)", 1),
     (f"sha256:{HASH}", 3, HASH, -1)],
)  # fmt: skip
def test_what_no_manifest_of_ours_says_is_refused(digest: str, version: int, sha256: str, size: int) -> None:
    with pytest.raises(IntegrityError):
        FetchPlan(digest, version, 1, (FetchFile(f"serving/{version}/x", sha256, size),))


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1).filter(
        lambda name: name not in (".", "..")
    )
)
def test_no_file_name_is_taken_for_shell_code(name: str) -> None:
    plan = FetchPlan(f"sha256:{HASH}", 3, 1, (FetchFile(f"serving/3/{name}", HASH, 1),))
    (line,) = [line for line in plan.script().splitlines() if line.endswith(f"{HASH} 1 || return 1") and ".release.json" not in line]
    shown = line.strip().removesuffix(" || return 1").replace('"$1"', 'printf "%s|"', 1)
    # Python's shlex follows POSIX's rules of quoting.
    assert shlex.split(shown)[2] == name


def test_the_variables_hold_no_credential_and_the_url_is_encoded_once(machine: Machine) -> None:
    assert not set(machine.variables.values()) & set(machine.secrets.values())
    assert machine.variables["RELEASE_URL"].count("services/a%20b/releases/") == 1


def test_the_plan_says_how_much_room_it_needs(release: Release) -> None:
    plan = fetch.fetch_plan(release.manifest)
    assert plan.size_bytes == sum(map(len, CONTENT.values())) + len(release.manifest.to_bytes())
