"""The proof that a new model server serves its release: it has the version, and answers the golden vectors within their tolerance."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

import docker
import docker.errors

from isthmus.errors import PlatformError
from isthmus.names import REST_PORT, model_path
from isthmus.plugin.handler import Context
from isthmus.provider.docker.jobs import FOLDER, Job, last_lines, run
from isthmus.release.manifest import Release

RUNNING: Final = "running"
_REQUEST_SECONDS: Final = 60
_SEPARATOR: Final = "\x1e"


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

    files, wanted = _questions(release)
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
    off = _difference(probed.stdout.split(_SEPARATOR)[1:], wanted)
    if not off <= release.manifest.golden_tolerance:
        allowed = release.manifest.golden_tolerance
        raise PlatformError(f"{where} answers wrong: golden vectors are off by {off:.6g}, allowed is {allowed:.6g}")


def _questions(release: Release) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """A predict request for each golden example, as the tolerance was measured, and its answer by output name."""
    golden = json.loads(release.path(release.manifest.golden).read_bytes())
    count = min((len(values) for values in golden["inputs"].values()), default=0)
    signature = golden["signature"]
    files, wanted = {}, []
    for index in range(count):
        inputs = {name: values[index : index + 1] for name, values in golden["inputs"].items()}
        files[f"{index}.json"] = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
        wanted.append({name: values[index : index + 1] for name, values in golden["outputs"].items()})
    return files, wanted


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


def _difference(answers: Sequence[str], wanted: Sequence[Mapping[str, Any]]) -> float:
    """The largest difference between answers and the golden ones; infinite where an answer is an error, or of another shape."""
    if len(answers) != len(wanted):
        return math.inf
    worst = 0.0
    for text, expected in zip(answers, wanted, strict=True):
        try:
            found = json.loads(text)["outputs"]
        except (ValueError, KeyError, TypeError):
            return math.inf
        # TensorFlow Serving leaves the name out where there is one output.
        by_name = found if len(expected) > 1 else {next(iter(expected)): found}
        worst = max([worst, *(_gap(values, by_name.get(name)) for name, values in expected.items())])
    return worst


def _gap(wanted: Any, found: Any) -> float:
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return math.inf
        return max((_gap(*pair) for pair in zip(wanted, found, strict=True)), default=0.0)
    if isinstance(wanted, float | int) and isinstance(found, float | int) and not isinstance(wanted, bool):
        both_odd = (math.isnan(wanted) and math.isnan(found)) or wanted == found
        gap = abs(wanted - found)
        return 0.0 if both_odd else math.inf if math.isnan(gap) else gap
    return 0.0 if wanted == found else math.inf
