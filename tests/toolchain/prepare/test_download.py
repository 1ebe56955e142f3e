"""The official engine is used only if it is whole and its checksum is the published one."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from toolchain.prepare import download, steps
from toolchain.prepare.steps import PrepareError

VERSION = (3, 259, 0)
NAME = "pulumi-v3.259.0-linux-x64.tar.gz"


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, mode in (("pulumi/pulumi", 0o755), ("pulumi/pulumi-language-python", 0o755), ("pulumi/LICENSE", 0o644)):
            member = tarfile.TarInfo(name)
            member.mode, member.size = mode, len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


class Site:
    """A download site on loopback; `files` maps paths to contents, `promise` adds to the announced length."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.promise = 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(200)
                self.end_headers()

            def do_GET(self) -> None:
                content = site.files.get(self.path)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"") + (site.promise if self.path.endswith(".gz") else 0)))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def publish(self, content: bytes, digest: str) -> None:
        self.files = {
            f"/releases/sdk/{NAME}": content,
            "/releases/sdk/pulumi-3.259.0-checksums.txt": f"{'0' * 64}  other.tar.gz\n{digest}  {NAME}\n".encode(),
        }


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()
    monkeypatch.setattr(download, "CHECKSUMS", download.CHECKSUMS[:1])
    monkeypatch.setattr(download, "RETRY_SECONDS", 0)
    monkeypatch.setattr(download, "archive_name", lambda version: NAME)
    yield site
    site.server.shutdown()
    site.server.server_close()


def test_a_release_with_the_published_checksum_is_unpacked(site: Site, tmp_path: Path) -> None:
    content = archive()
    site.publish(content, hashlib.sha256(content).hexdigest())
    download.download(VERSION, tmp_path / "engine", site.url)
    assert sorted(file.name for file in (tmp_path / "engine").iterdir()) == ["LICENSE", "pulumi", "pulumi-language-python"]
    assert (tmp_path / "engine" / "pulumi").stat().st_mode & 0o111
    assert list(tmp_path.iterdir()) == [tmp_path / "engine"]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda site, content: site.publish(content + b"x", hashlib.sha256(content).hexdigest()), "was published"),
        (lambda site, content: site.files.pop("/releases/sdk/pulumi-3.259.0-checksums.txt"), "no published checksum"),
        (lambda site, content: site.files.pop(f"/releases/sdk/{NAME}"), "404"),
        (lambda site, content: setattr(site, "promise", 10), "failed"),
    ],
    ids=["another checksum", "no checksum", "no archive", "cut short"],
)
def test_a_broken_release_leaves_nothing_behind(site: Site, tmp_path: Path, break_it: object, message: str) -> None:
    content = archive()
    site.publish(content, hashlib.sha256(content).hexdigest())
    break_it(site, content)  # type: ignore[operator]
    with pytest.raises(PrepareError, match=message):
        download.download(VERSION, tmp_path / "engine", site.url)
    assert list(tmp_path.iterdir()) == []


def test_a_site_that_does_not_answer_is_not_reachable(site: Site) -> None:
    assert download.reachable(site.url)
    site.server.shutdown()
    site.server.server_close()
    assert not download.reachable(site.url)


def test_each_system_has_its_archive() -> None:
    assert download.archive_name.__module__ == download.__name__
    assert download.archive_name(VERSION, "linux", "x86_64") == NAME
    assert download.archive_name(VERSION, "darwin", "arm64") == "pulumi-v3.259.0-darwin-arm64.tar.gz"
    assert download.archive_name(VERSION, "sunos", "x86_64") == ""


def test_attempts_are_bounded() -> None:
    assert 1 < steps.ATTEMPTS < 10
