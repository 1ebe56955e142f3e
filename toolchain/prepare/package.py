"""Makes a plugin installable: `pulumi plugin install resource NAME VERSION --file TARBALL`, into a PULUMI_HOME of the project's own."""

import gzip
import io
import shlex
import tarfile
from pathlib import Path

_LAUNCHER = """#!/bin/sh
# The fall-back {name} plugin of the project in {project}. `exec` keeps one process, so that a signal to it reaches the plugin itself.
exec {python} {main} "$@"
"""


def launcher(project: Path, name: str) -> str:
    """The script `pulumi-resource-NAME`: runs `toolchain/NAME_plugin` with the Python of the project's own environment."""
    python, main = project / ".venv" / "bin" / "python", project / "toolchain" / f"{name}_plugin" / "__main__.py"
    return _LAUNCHER.format(name=name, project=project, python=shlex.quote(str(python)), main=shlex.quote(str(main)))


def tarball(project: Path, name: str, target: Path) -> Path:
    """Writes the plugin's tarball, the same bytes for the same project and name; returns `target`.

    name: of the package, such as `kubernetes`. The plugin's code stays in the project: the tarball holds a launcher only.
    """
    content = launcher(project, name).encode()
    entry = tarfile.TarInfo(f"pulumi-resource-{name}")
    entry.size, entry.mode = len(content), 0o755
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(entry, io.BytesIO(content))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(packed.getvalue())
    return target
