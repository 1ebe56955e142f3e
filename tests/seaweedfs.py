"""A SeaweedFS server of the test run's own: the smallest real S3 store."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolchain.testing import patience

from isthmus.errors import StoreError
from isthmus.platforms.local.desired import STORE_VOLUMES
from isthmus.provider.local.ports import choose
from isthmus.release.store import Store, StoreAddress

ACCESS_KEY, SECRET_KEY = "test-access-key", "test-secret-key"
READY_SECONDS = 60
PARTS = ("s3", "master", "filer", "volume", "admin")


class Server:
    """start and stop may be called in turns; the data and the ports stay."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.identities = directory / "s3.json"
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (directory / "data").mkdir()
        self.identities.write_text(json.dumps({"identities": [identity]}))
        self.identities.chmod(0o600)
        names = [name for part in PARTS for name in (f"{part}.port", f"{part}.port.grpc")]
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        self.address = StoreAddress(f"http://127.0.0.1:{self._ports['s3.port']}", "us-east-1", ACCESS_KEY, SECRET_KEY)

    def start(self) -> None:
        options = {
            **self._ports,
            "dir": self._directory / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.config": self.identities,
            "s3.localSocket": self._directory / "s3.sock",
            "filer.localSocket": self._directory / "filer.sock",
            "s3.autoCreateBucket": "false",
            "master.telemetry": "false",
            "webdav": "false",
            "admin.ui": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "volume.max": STORE_VOLUMES,
        }
        with (self._directory / "log").open("ab") as log:
            command = [str(Path(sys.executable).with_name("weed")), "mini", *(f"-{name}={value}" for name, value in options.items())]
            self._process = subprocess.Popen(command, cwd=self._directory, stdout=log, stderr=log)
        deadline = patience.Deadline(READY_SECONDS)
        while True:
            try:
                Store(self.address, "probe").check()
                return
            except StoreError:
                assert self._process.poll() is None, (self._directory / "log").read_text()
                assert not deadline.over(), "SeaweedFS does not become ready"
                time.sleep(0.05)

    def read_identities_again(self) -> None:
        """Has the file of identities read again, by a signal: it takes a moment."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()  # its own clean stop takes seconds, and the data is thrown away
            self._process.wait()
            self._process = None
            for part in PARTS:  # it leaves these behind, and takes no option for them
                Path(f"/tmp/seaweedfs-{part}-grpc-{self._ports[f'{part}.port.grpc']}.sock").unlink(missing_ok=True)  # noqa: S108


@contextmanager
def running() -> Iterator[Server]:
    """A server until the block ends."""
    # Not in pytest's own folder: a socket's path may not be longer than 107 characters.
    with tempfile.TemporaryDirectory(prefix="isthmus-s3-") as directory:
        server = Server(Path(directory))
        try:
            server.start()
            yield server
        finally:
            server.stop()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and that no outgoing connection will take."""
    return [choose(()) for _ in range(count)]
