"""Short jobs on a host: a shell script in a container of its own that runs to its end and is removed.

So nothing but Docker has to be on the host, and files, ports and models are looked at from where they are. What a job needs,
secrets among it, is copied into its container before it starts: `docker inspect` shows the image and the folders, no more.
"""

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import docker
import docker.errors

from isthmus.errors import PlatformError
from isthmus.names import DOMAIN
from isthmus.plugin.handler import Context

OWNER_LABEL: Final = f"{DOMAIN}/owner"
JOB_LABEL: Final = f"{DOMAIN}/job"
LOG: Final = {"type": "json-file", "config": {"max-size": "16m", "max-file": "2"}}
# Scripts and their files lie here, readable for root alone.
FOLDER: Final = "/isthmus"
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Job:
    """image: has sh. script: reads its files in FOLDER. files: name → content. folders: on the host → in the container, written to.

    network: none, host, or that of a container (`container:ID`). capabilities: root in the container has no others.
    """

    image: str
    script: str
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    folders: Mapping[str, str] = field(default_factory=dict)
    network: str = "none"
    # Files that another user of the host owns have to be written and handed out as well.
    capabilities: Sequence[str] = ("CHOWN", "DAC_OVERRIDE", "FOWNER")


class LateError(PlatformError):
    """A job that did not end in time."""


@dataclass(frozen=True)
class Ended:
    """stdout: all of it. message: the last line of stderr, or of stdout where there is none."""

    status: int
    stdout: str
    message: str


def owner_of(urn: str) -> str:
    """What marks the containers of one resource. The URN names stack and project, which are nobody's business."""
    return hashlib.sha256(urn.encode()).hexdigest()[:16]


def run(
    client: docker.APIClient,
    job: Job,
    context: Context,
    *,
    timeout_seconds: float,
    message: str,
    objection: Callable[[], str] = lambda: "",
) -> Ended:
    """Runs a job to its end. message: what the user sees meanwhile. objection: asked now and then; not empty: why it is pointless to wait.

    Raises PlatformError where it cannot be started, does not end in time, or became pointless; StoppedWaitingError.
    """
    with _container(client, job, context) as id:
        client.start(id)
        found: list[str] = []

        def over() -> bool:
            found[:] = [objection()]
            return bool(found[0]) or client.inspect_container(id)["State"]["Status"] in {"exited", "dead"}

        in_time = context.wait_until(over, timeout_seconds, message, _POLL_SECONDS)
        stdout, stderr = (_log(client, id, stream) for stream in ("stdout", "stderr"))
        last = _last(stderr) or _last(stdout)
        if not in_time:
            raise LateError(f"{message}: not done within {timeout_seconds:g} s{f' ({last})' if last else ''}")
        if found[0]:
            raise PlatformError(found[0])
        return Ended(client.inspect_container(id)["State"]["ExitCode"], stdout, last)


def last_lines(client: docker.APIClient, id: str, count: int = 5) -> str:
    """What a container wrote last, in one line."""
    with suppress(docker.errors.APIError):
        text = client.logs(id, stdout=True, stderr=True, tail=count).decode(errors="replace")
        return " / ".join(line.strip() for line in text.splitlines() if line.strip())
    return ""


@contextmanager
def _container(client: docker.APIClient, job: Job, context: Context) -> Iterator[str]:
    owner = owner_of(context.urn)
    # What a killed plugin left. A resource has one operation at a time, so this is nobody else's.
    for left in client.containers(all=True, filters={"label": f"{JOB_LABEL}={owner}"}):
        remove(client, left["Id"])
    try:
        made = client.create_container(
            image=job.image,
            entrypoint=["sh", f"{FOLDER}/script"],
            command=[],
            user="0:0",
            labels={JOB_LABEL: owner},
            host_config=client.create_host_config(
                binds=[f"{place}:{inside}" for place, inside in job.folders.items()],
                network_mode=job.network,
                cap_drop=["ALL"],
                cap_add=list(job.capabilities),
                security_opt=["no-new-privileges"],
                log_config=docker.types.LogConfig(**LOG),
            ),
        )
    except docker.errors.ImageNotFound as error:
        raise PlatformError(f"there is no image {job.image} on the host") from error
    try:
        client.put_archive(made["Id"], "/", archive({"script": job.script.encode(), **job.files}, FOLDER.strip("/")))
        yield made["Id"]
    finally:
        remove(client, made["Id"])


def remove(client: docker.APIClient, id: str) -> None:
    """Removes a container, running or not. One that is gone, or going, is fine."""
    try:
        client.remove_container(id, v=True, force=True)
    except docker.errors.APIError as error:
        if error.status_code not in {404, 409}:
            raise


def archive(files: Mapping[str, bytes], folder: str) -> bytes:
    """A tar file with these in a folder, for nobody but root."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        top = tarfile.TarInfo(folder)
        top.type, top.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(top)
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode = len(data), 0o600
            tar.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def _log(client: docker.APIClient, id: str, stream: str) -> str:
    data: Any = client.logs(id, stdout=stream == "stdout", stderr=stream == "stderr")
    return bytes(data).decode(errors="replace")


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
