"""DockerModelFolder: a release on a host with a Docker engine, fetched from the store there and verified."""

import json
import secrets
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from isthmus.errors import PlatformError, Problem
from isthmus.limits import HOST_DEADLINE_SECONDS
from isthmus.names import MONITORING_CONFIG, MONITORING_FILE
from isthmus.plugin.diffs import Change, compare
from isthmus.plugin.handler import Context, Created, Found, HandlerBase, PartlyMadeError, StoppedWaitingError, Values, not_importable
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
from isthmus.provider.handlers.owners import OWNER_UNCOMPARED, own_names, owner
from isthmus.provider.handlers.releases import digest_problems, find_release
from isthmus.provider.handlers.stores import BUCKET, PREFIX, STORE, address_problems, prefix_problems

if TYPE_CHECKING:
    import docker

    from isthmus.provider.docker import jobs
    from isthmus.release.fetch import FetchPlan

COMPLETE: Final = "complete"
DAMAGED: Final = "damaged"
# Two resources may mean one folder, where a host has two addresses: only the one that wrote last may remove it.
_OWNER_FILE: Final = ".owner"
_ROOT: Final = "/isthmus-root"
_CHECK_SECONDS: Final = 600
_NOTHING: Final = 3


class DockerModelFolderHandler(HandlerBase):
    spec = ResourceSpec(
        name="DockerModelFolder",
        description="The serving variant of a release on a host with a Docker engine: ROOT/FOLDER/VERSION/saved_model.pb …",
        inputs={
            "host": HOST,
            "image": Property("string", "the image with sh, curl and sha256sum", compared=False),
            "root": ROOT,
            "folder": FOLDER,
            "digest": Property("string", "the release's digest", replaces=True),
            "cache_directory": Property("string", "where this machine keeps releases", compared=False),
            # What was fetched was verified: where from is of no matter once it is there.
            "store": Property(STORE.type, STORE.description, compared=False, fields=STORE.fields),
            "bucket": Property("string", BUCKET.description, compared=False),
            "prefix": Property("string", PREFIX.description, compared=False),
            "owner": OWNER_UNCOMPARED,
            "deadline_seconds": Property.of(HOST_DEADLINE_SECONDS),
        },
        outputs={
            "version": Property("integer", "the version's number, the name of the folder inside"),
            "directory": Property("string", "the folder on the host"),
            "content": Property("string", f"{COMPLETE}, or {DAMAGED} where `up` has to mend it"),
            "mark": Property("string", "what marks the folder as this resource's"),
            "plan": Property("string", "what has to be there, as JSON"),
        },
    )

    def check(self, inputs: Values, old_inputs: Values, context: Context) -> Sequence[Problem]:
        return [
            *host_problems(inputs),
            *digest_problems(inputs),
            *address_problems(inputs),
            *prefix_problems(inputs),
            *place_problems(inputs),
        ]

    def diff(self, state: Values, old_inputs: Values, inputs: Values) -> Sequence[Change]:
        changes = compare(self.spec, old_inputs, inputs)
        if not changes and state.get("content") != COMPLETE:
            changes.append(Change(("content",), "update", is_input=False))
        return changes

    def preview(self, inputs: Values, state: Values | None) -> Properties:
        plan = _plan(inputs) if is_known([inputs["digest"], inputs["cache_directory"]]) else None
        return {
            "version": UNKNOWN if plan is None else plan.version,
            "plan": UNKNOWN if plan is None else json.dumps(asdict(plan)),
            "directory": directory_of(inputs) if is_known([inputs["root"], inputs["folder"]]) else UNKNOWN,
            "content": COMPLETE,
            "mark": UNKNOWN if state is None else _mark(state) or UNKNOWN,
        }

    def create(self, inputs: Values, context: Context) -> Created:
        mark = secrets.token_hex(8)
        id = f"{inputs['host']['name']}:{directory_of(inputs)}"
        return Created(id, self._fetch(inputs, {}, mark, context, id))

    def update(self, id: str, state: Values, inputs: Values, context: Context) -> Properties:
        return self._fetch(inputs, state, _mark(state) or secrets.token_hex(8), context)

    def _fetch(self, inputs: Values, state: Values, mark: str, context: Context, id: str = "") -> Properties:
        """state: of the last update; empty: there was none."""
        from isthmus.provider.docker.client import connect

        plan = _plan(inputs)
        outputs = {
            "version": plan.version,
            "directory": directory_of(inputs),
            "content": DAMAGED,
            "mark": mark,
            "plan": json.dumps(asdict(plan)),
        }
        with connect(inputs["host"]) as client:
            try:
                ended = self._run_fetch(client, inputs, plan, mark, context, former=own_names(state, context) if state else ())
            except StoppedWaitingError as error:
                raise PartlyMadeError([str(error)], outputs, id) from error
            except PlatformError as error:
                raise PartlyMadeError([f"host {inputs['host']['name']}: {error}"], outputs, id) from error
        if ended.status:
            # What was fetched is kept: the next attempt goes on from there.
            raise PartlyMadeError([f"host {inputs['host']['name']}: {ended.message}"], outputs, id)
        return {**outputs, "content": COMPLETE}

    def _run_fetch(
        self, client: "docker.APIClient", inputs: Values, plan: "FetchPlan", mark: str, context: Context, *, former: Collection[str]
    ) -> "jobs.Ended":
        """former: what the folder's owner was called by the state; empty: there is none."""
        from isthmus.provider.docker import jobs
        from isthmus.release.fetch import ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE, environment

        store, target = inputs["store"], f"{_ROOT}/{inputs['folder']}"
        variables = {
            **environment(
                endpoint=store["endpoint"],
                region=store.get("region") or "us-east-1",
                bucket=inputs["bucket"],
                prefix=inputs["prefix"],
                digest=inputs["digest"],
                target=target,
            ),
            ACCESS_KEY_VARIABLE: store["access_key"],
            SECRET_KEY_VARIABLE: store["secret_key"],
        }
        script = "\n".join(
            [
                "set -eu",
                f". {jobs.FOLDER}/variables",
                claim_script(target, owner(inputs, context), known=bool(former), former=former),
                f'printf %s {mark} >"$TARGET/{_OWNER_FILE}"',
                f'cp {jobs.FOLDER}/{MONITORING_FILE} "$TARGET/{MONITORING_FILE}"',
                f'chmod 0644 "$TARGET/{MONITORING_FILE}"',
                f"exec sh {jobs.FOLDER}/fetch",
            ]
        )
        files = {"variables": _assignments(variables), "fetch": plan.script().encode(), MONITORING_FILE: MONITORING_CONFIG.encode()}
        job = jobs.Job(inputs["image"], script, files, {inputs["root"]: _ROOT}, network="host")
        message = f"fetching {plan.size_bytes} bytes"
        return jobs.run(client, job, context, timeout_seconds=inputs["deadline_seconds"], message=message)

    def read(self, id: str, state: Values, inputs: Values, context: Context) -> Found | None:
        from isthmus.provider.docker import jobs
        from isthmus.provider.docker.client import connect
        from isthmus.release.fetch import FetchFile, FetchPlan

        if not inputs:
            raise not_importable("DockerModelFolder", "its host is not part of its id")
        # By the state alone: the machine that refreshes may not have the release.
        known = json.loads(state["plan"])
        plan = FetchPlan(**{**known, "files": tuple(FetchFile(**file) for file in known["files"])})
        target = shlex.quote(f"{_ROOT}/{inputs['folder']}")
        script = "\n".join(
            [
                f"export TARGET={target}",
                f'[ -e "$TARGET/{_OWNER_FILE}" ] || exit {_NOTHING}',
                f'[ -f "$TARGET/{MONITORING_FILE}" ] || exit 1',
                f"exec sh {jobs.FOLDER}/check",
            ]
        )
        job = jobs.Job(inputs["image"], script, {"check": plan.check_script().encode()}, {inputs["root"]: _ROOT})
        with connect(inputs["host"]) as client:
            ended = jobs.run(client, job, context, timeout_seconds=_CHECK_SECONDS, message="checking the model's files")
        if ended.status == _NOTHING:
            return None
        content = DAMAGED if ended.status else COMPLETE
        return Found(dict(inputs), {**{name: state.get(name) for name in self.spec.outputs}, "mark": _mark(state), "content": content})

    def delete(self, id: str, state: Values, context: Context) -> None:
        from isthmus.provider.docker import jobs
        from isthmus.provider.docker.client import connect

        folder, mark = shlex.quote(state["folder"]), shlex.quote(_mark(state))
        guard = f'[ "$(cat {folder}/{_OWNER_FILE} 2>/dev/null)" = {mark} ] || exit 0'
        own = own_script(state["folder"], own_names(state, context))
        script = f"cd {_ROOT}\n{guard}\n{own}{removal_script(state['folder'])}"
        with connect(state["host"]) as client:
            job = jobs.Job(state["image"], script, folders={state["root"]: _ROOT})
            ended = jobs.run(client, job, context, timeout_seconds=_CHECK_SECONDS, message="removing the model's files")
        if ended.status:
            raise PlatformError(f"host {state['host']['name']}: cannot remove {directory_of(state)}: {ended.message}")


def _mark(state: Values) -> str:
    """What marks the folder as a resource's; in states of before there were owners it was called one."""
    found = str(state.get("mark") or state.get("owner") or "")
    return found if "/" not in found else ""


def _plan(inputs: Values) -> "FetchPlan":
    from isthmus.release.fetch import fetch_plan

    return fetch_plan(find_release(inputs).manifest)


def _assignments(variables: Mapping[str, str]) -> bytes:
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()).encode()
