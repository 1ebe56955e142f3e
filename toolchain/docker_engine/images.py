"""Images for engines that have no registry."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import docker.errors
from toolchain.docker_engine.hosts import Engine
from toolchain.docker_engine.programs import programs
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError

# What a container of a test may want; busybox takes its own name as the command.
_APPLETS = ("sh", "sleep", "cat", "echo", "env", "httpd", "id", "ls", "nc", "seq", "stat", "test", "touch", "true", "false", "wget")


def load(engine: Engine, archive: Path) -> list[str]:
    """Loads the images of a `docker save` archive; returns their names, or the ids of those without one. Raises PrepareError."""
    client = engine.client()
    try:
        with archive.open("rb") as stream:
            return [(image.tags or [image.id])[0] for image in client.images.load(stream)]
    except docker.errors.DockerException as error:
        raise PrepareError(f"engine {engine.name} can't load {archive}: {error}") from error
    finally:
        client.close()


def load_busybox(layout: Layout, engine: Engine, name: str = "local/busybox:test", changes: Sequence[str] = ('CMD ["sh"]',)) -> str:
    """Makes a small image from Debian's busybox; returns its id. changes: lines as of a Dockerfile."""
    found = programs(layout)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(found.find("busybox"), "bin/busybox")
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for folder, mode in (("tmp", 0o1777), ("etc", 0o755), ("www", 0o755)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
    repository, _, tag = name.partition(":")
    client = engine.client()
    try:
        client.api.import_image_from_data(content.getvalue(), repository=repository, tag=tag or "latest", changes=list(changes))
        return str(client.images.get(name).id)
    except docker.errors.DockerException as error:
        raise PrepareError(f"engine {engine.name} can't import {name}: {error}") from error
    finally:
        client.close()
