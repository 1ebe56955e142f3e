"""DockerFiles: a folder of text files on a host with a Docker engine, for a program there that watches them."""

import hashlib
import json
import posixpath
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from isthmus.errors import PlatformError, Problem
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, Values, not_importable
from isthmus.plugin.schema import Property, ResourceSpec
from isthmus.plugin.values import UNKNOWN, Properties, is_known
from isthmus.provider.docker.properties import (
    FOLDER,
    HOST,
    ROOT,
    claim_script,
    directory_of,
    host_problems,
    own_script,
    place_problems,
    removal_script,
)
from isthmus.provider.handlers.owners import OWNER, own_names, owner

_ROOT: Final = "/isthmus-root"
_MAKING_NAME: Final = ".making"
_TIMEOUT_SECONDS: Final = 120


class DockerFilesHandler(HandlerBase):
    spec = ResourceSpec(
        name="DockerFiles",
        description="A folder of text files on a Docker host; changed files are moved into place, for a program that watches.",
        inputs={
            "host": HOST,
            "image": Property("string", "the image with sh", compared=False),
            "root": ROOT,
            "folder": FOLDER,
            "group": Property("integer", "the group that may read the files", minimum=0),
            "owner": OWNER,
            "files": Property("object", "path below the folder → content", items=Property("string", "a file's content")),
        },
        outputs={"found": Property("string", "a hash over what lies there")},
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        found = [*host_problems(inputs), *place_problems(inputs)]
        for name in inputs["files"] if isinstance(inputs["files"], dict) else ():
            path = PurePosixPath(name)
            if not name or path.is_absolute() or ".." in path.parts or str(path) != name:
                found.append(Problem(f'files["{name}"]', "is not a file name within the folder", "a relative path without .."))
        return found

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = compare(self.spec, old_inputs, inputs)
        if not changes and is_known(inputs["files"]) and state.get("found") != _hash(inputs["files"]):
            changes.append(Change(("found",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        return {"found": _hash(inputs["files"]) if is_known(inputs["files"]) else UNKNOWN}

    def create(self, inputs: Values, context: Context) -> Created:
        return Created(f"{inputs['host']['name']}:{directory_of(inputs)}", self._write(inputs, {}, context))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return self._write(inputs, state, context)

    def _write(self, inputs: Values, state: Values, context: Context) -> Properties:
        """state: of the last update; empty: there was none."""
        from isthmus.provider.docker.client import connect
        from isthmus.provider.docker.jobs import Job, run

        names = sorted(inputs["files"])
        contents = {str(index): str(inputs["files"][name]).encode() for index, name in enumerate(names)}
        former = own_names(state, context) if state else ()
        claim = claim_script(f"{_ROOT}/{inputs['folder']}", owner(inputs, context), known=bool(state), former=former)
        gone = sorted({*(state.get("files") or ())} - {*names})
        script = f"set -eu\n{claim}" + _write_script(inputs["folder"], names, gone, int(inputs["group"]), context.making)
        job = Job(inputs["image"], script, contents, {inputs["root"]: _ROOT})
        with connect(inputs["host"]) as client:
            ended = run(client, job, context, timeout_seconds=_TIMEOUT_SECONDS, message="writing files")
        if ended.status:
            raise PlatformError(f"host {inputs['host']['name']}: cannot write {directory_of(inputs)}: {ended.message}")
        return {"found": _hash(inputs["files"])}

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        from isthmus.provider.docker.client import connect
        from isthmus.provider.docker.jobs import Job, run

        if not inputs:
            raise not_importable("DockerFiles", "its host is not part of its id")
        # As text that needs no more than sh: the files may be readable for nobody but root and their group.
        names = sorted(inputs["files"])
        sums = "\n".join(f"sha256sum <{shlex.quote(name)} 2>/dev/null || echo missing" for name in names)
        job = Job(inputs["image"], f"cd {_ROOT}/{shlex.quote(inputs['folder'])} || exit 1\n{sums}\n", {}, {inputs["root"]: _ROOT})
        with connect(inputs["host"]) as client:
            ended = run(client, job, context, timeout_seconds=_TIMEOUT_SECONDS, message="reading files")
        there = [line.split()[0] for line in ended.stdout.splitlines() if line.strip()]
        if ended.status or set(there) <= {"missing"}:
            return None
        return Found(dict(inputs), {"found": _hash_of_sums(dict(zip(names, there, strict=True)))})

    def delete(self, id: str, state: Values, context: Context) -> None:
        from isthmus.provider.docker.client import connect
        from isthmus.provider.docker.jobs import Job, run

        # Only what this making wrote last: one that is replaced in place has been written anew by then.
        file = shlex.quote(f"{state['folder']}/{_MAKING_NAME}")
        guard = f'made=$(cat {file} 2>/dev/null) || made=\n[ -z "$made" ] || [ "$made" = {shlex.quote(context.making)} ] || exit 0'
        own = own_script(state["folder"], own_names(state, context))
        job = Job(state["image"], f"cd {_ROOT}\n{guard}\n{own}{removal_script(state['folder'])}", {}, {state["root"]: _ROOT})
        with connect(state["host"]) as client:
            ended = run(client, job, context, timeout_seconds=_TIMEOUT_SECONDS, message="removing files")
        if ended.status:
            raise PlatformError(f"host {state['host']['name']}: cannot remove {directory_of(state)}: {ended.message}")


def _write_script(folder: str, names: Sequence[str], gone: Sequence[str], group: int, making: str) -> str:
    """Every file is complete under another name before it is moved into place; in the order of their names.

    gone: files of before, removed once the others are there: a key that is not used any more does not stay.
    """
    target = shlex.quote(f"{_ROOT}/{folder}")
    lines = ["set -eu", f"mkdir -p {target}", f"cd {target}", "chmod 0755 .", "umask 027"]
    for index, name in enumerate(names):
        source, path, new, above = f"/isthmus/{index}", shlex.quote(name), shlex.quote(f"{name}.new"), posixpath.dirname(name)
        if above:
            lines.append(f"mkdir -p {shlex.quote(above)} && chown 0:{group} {shlex.quote(above)}")
        write = f"cp {source} {new} && chown 0:{group} {new} && chmod 0440 {new} && mv {new} {path}"
        lines.append(f"cmp -s {source} {path} || {{ {write}; }}")
    lines += [f"rm -f {shlex.quote(name)}" for name in gone]
    lines.append(f"printf %s {shlex.quote(making)} >{_MAKING_NAME}")
    return "\n".join(lines) + "\n"


def _hash(files: Mapping[str, Any]) -> str:
    return _hash_of_sums({name: hashlib.sha256(str(content).encode()).hexdigest() for name, content in files.items()})


def _hash_of_sums(sums: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()
