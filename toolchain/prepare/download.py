"""The official engine, from the site that its makers publish it on. Nothing is used whose checksum was not verified."""

import hashlib
import platform
import re
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from toolchain.prepare.layout import version_text
from toolchain.prepare.steps import ATTEMPTS, RETRY_SECONDS, PrepareError, say

SITE = "https://get.pulumi.com"
# The same file is published in both places.
CHECKSUMS = (
    "{site}/releases/sdk/pulumi-{version}-checksums.txt",
    "https://github.com/pulumi/pulumi/releases/download/v{version}/pulumi-{version}-checksums.txt",
)
REACH_SECONDS = 4.0
READ_SECONDS = 30.0
PROGRESS_SECONDS = 5.0
_SYSTEMS = {"linux": "linux", "darwin": "darwin"}
_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def archive_name(version: tuple[int, ...], system: str = sys.platform, machine: str = "") -> str:
    """File name of the release for a system and machine; empty if there is none."""
    machine = machine or platform.machine()
    names = _SYSTEMS.get(system), _MACHINES.get(machine.lower())
    return f"pulumi-v{version_text(version)}-{names[0]}-{names[1]}.tar.gz" if all(names) else ""


def reachable(site: str = SITE) -> bool:
    """Whether the site answers within a few seconds."""
    request = urllib.request.Request(site, method="HEAD")  # noqa: S310 the address is ours, or a test's
    try:
        with urllib.request.urlopen(request, timeout=REACH_SECONDS):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True  # an answer is an answer
    except (OSError, ValueError):
        return False


def checksum_for(listing: str, name: str) -> str:
    """The SHA-256 of a file in a `digest  name` listing; empty if it is not there."""
    match = re.search(rf"^([0-9a-f]{{64}})\s+\*?(?:\./)?{re.escape(name)}\s*$", listing, re.MULTILINE)
    return match[1] if match else ""


def _published_checksum(site: str, version: tuple[int, ...], name: str) -> str:
    for template in CHECKSUMS:
        url = template.format(site=site, version=version_text(version))
        try:
            with urllib.request.urlopen(url, timeout=READ_SECONDS) as answer:  # noqa: S310
                if found := checksum_for(answer.read().decode("ascii", "replace"), name):
                    return found
        except OSError:
            continue
    raise PrepareError(f"no published checksum of {name} can be had, so the download is not used")


def _fetch(url: str, target: Path) -> str:
    """Downloads with progress lines; returns the SHA-256 of what came."""
    digest, shown = hashlib.sha256(), time.monotonic()
    with urllib.request.urlopen(url, timeout=READ_SECONDS) as answer, target.open("wb") as stream:  # noqa: S310
        total = int(answer.headers.get("Content-Length") or 0)
        received = 0
        while block := answer.read(1 << 20):
            stream.write(block)
            digest.update(block)
            received += len(block)
            if time.monotonic() - shown > PROGRESS_SECONDS:
                shown = time.monotonic()
                say(f"  {received >> 20} of {total >> 20} MiB")
        if total and received != total:
            raise OSError(f"the connection closed after {received} of {total} bytes")
    return digest.hexdigest()


def download(version: tuple[int, ...], target: Path, site: str = SITE) -> None:
    """Makes the folder `target` with the release's executables in it, whole or not at all.

    Raises:
        PrepareError: no release for this machine, no checksum, a wrong checksum, or the network failed.
    """
    name = archive_name(version)
    if not name:
        raise PrepareError(f"there is no official release for {sys.platform} on {platform.machine()}")
    expected = _published_checksum(site, version, name)
    url = f"{site}/releases/sdk/{name}"
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    archive = partial / name
    try:
        for attempt in range(1, ATTEMPTS + 1):
            say(f"downloading {url}")
            try:
                actual = _fetch(url, archive)
                break
            except OSError as error:
                if attempt == ATTEMPTS:
                    raise PrepareError(f"downloading {url} failed: {error}") from error
                time.sleep(RETRY_SECONDS)
        if actual != expected:
            raise PrepareError(f"{url} has the SHA-256 {actual}, but {expected} was published; it is not used")
        unpack(archive, partial)
        archive.unlink()
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def unpack(archive: Path, target: Path) -> None:
    """Takes the plain files out of an archive, without the folders they lie in."""
    with tarfile.open(archive) as content:
        for member in content:
            stream = content.extractfile(member) if member.isfile() else None
            if stream is None:
                continue
            file = target / Path(member.name).name
            with stream, file.open("wb") as sink:
                shutil.copyfileobj(stream, sink)
            file.chmod(0o755 if member.mode & 0o111 else 0o644)
