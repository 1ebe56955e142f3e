"""The proof that a new model server serves its release: it has the version, and answers the golden vectors within their tolerance."""

import shlex
from collections.abc import Mapping
from typing import Any, Final

import docker
import docker.errors

from isthmus.errors import PlatformError
from isthmus.names import REST_PORT, model_path
from isthmus.plugin.handler import Context
from isthmus.provider.docker.jobs import FOLDER, Job, LateError, last_lines, run
from isthmus.provider.golden import difference, questions
from isthmus.release.manifest import Release

RUNNING: Final = "running"
_PATIENCE_SECONDS: Final = 45
_REQUEST_SECONDS: Final = 60
_SEPARATOR: Final = "\x1e"


class WrongAnswerError(PlatformError):
    """A server that serves another model."""


def patience_seconds(inputs: Mapping[str, Any]) -> int:
    """For what ran before, and may be busy; a deadline for what is new that is shorter holds for it as well."""
    deadline_seconds: int = inputs["deadline_seconds"]
    return min(_PATIENCE_SECONDS, deadline_seconds)


def ailment(client: docker.APIClient, id: str, inputs: Mapping[str, Any], release: Release, context: Context) -> str:
    """What is wrong with a server whose container runs; empty: it answers, and right. What keeps it from being asked is not its fault."""
    try:
        prove(client, id, {**inputs, "deadline_seconds": patience_seconds(inputs)}, release, context)
    except WrongAnswerError as error:
        return str(error)
    except PlatformError as error:
        return str(error) if isinstance(error.__cause__, LateError) else ""
    return ""


def inspect(client: docker.APIClient, id: str) -> dict[str, Any] | None:
    """What Docker knows of a container; None where there is none."""
    try:
        found: dict[str, Any] = client.inspect_container(id)
    except docker.errors.NotFound:
        return None
    return found


def prove(client: docker.APIClient, id: str, inputs: Mapping[str, Any], release: Release, context: Context) -> None:
    """Waits until the server has the version, and compares its answers with the golden ones. Raises PlatformError."""
    where = f"host {inputs['host']['name']}: the new server of {inputs['service']}"

    def ended() -> str:
        found = inspect(client, id)
        if found is not None and found["State"]["Status"] == RUNNING:
            return ""
        if found is None:
            return f"{where} was removed by somebody else"
        state = found["State"]
        why = "it needs more memory than its limit" if state.get("OOMKilled") else f"status {state['ExitCode']}"
        return f"{where} ended before it answered ({why}): {last_lines(client, id)}"

    asked = questions(release.path(release.manifest.golden).read_bytes())
    files = {f"{index}.json": question.body for index, question in enumerate(asked)}
    job = Job(
        inputs["probe_image"], _probe_script(inputs["model_name"], release.manifest.version, len(files)), files, network=f"container:{id}"
    )
    try:
        probed = run(
            client, job, context, timeout_seconds=inputs["deadline_seconds"], message="waiting for the new server", objection=ended
        )
    except (PlatformError, docker.errors.APIError) as error:
        if str(error).startswith(where):
            raise
        # A server that has ended already has no network that the probe could join: what ended it is the reason to tell.
        raise PlatformError(ended() or f"{where}: {error}: {last_lines(client, id)}") from error
    if probed.status:
        raise PlatformError(f"{where} does not answer: {ended() or probed.message}")
    off = difference(probed.stdout.split(_SEPARATOR)[1:], asked)
    if not off <= release.manifest.golden_tolerance:
        allowed = release.manifest.golden_tolerance
        raise WrongAnswerError(f"{where} answers wrong: golden vectors are off by {off:.6g}, allowed is {allowed:.6g}")


def _probe_script(model_name: str, version: int, questions: int) -> str:
    """Waits without an end: whoever runs it has the deadline. Each answer follows a separator."""
    url = shlex.quote(f"http://127.0.0.1:{REST_PORT}{model_path(model_name)}/versions/{version}")
    return f"""set -eu
url={url}
until curl --silent --fail --max-time 5 --output /tmp/status "$url" && grep -q AVAILABLE /tmp/status; do sleep 0.2; done
index=0
while [ "$index" -lt {questions} ]; do
  printf '\\036'
  curl --silent --show-error --max-time {_REQUEST_SECONDS} --data-binary "@{FOLDER}/$index.json" "$url:predict"
  index=$((index + 1))
done
"""
