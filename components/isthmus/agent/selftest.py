"""The self-test: a release's golden vectors, run in the interpreter that will serve them.

It runs in a process of its own first (`python -m isthmus.agent.selftest FOLDER`, the manifest on stdin), because a file that
the interpreter cannot stand may end the process instead of raising. The process prints a JSON object: `refused` is
the reason or null, `max_difference` how far the worst answer was off.
"""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy.typing as npt

from isthmus.agent.model import InterpreterError, Model, max_difference
from isthmus.errors import IntegrityError, IsthmusError
from isthmus.release.manifest import Manifest
from isthmus_agent.protocol import DEFAULT_SIGNATURE, RestError, Signature, parse_predict

Arrays = dict[str, npt.NDArray[Any]]

TIMEOUT_SECONDS = 120
CPU_SECONDS = 100
_POLL_SECONDS = 0.1
# What the process needs of the environment. Credentials are not among it.
_VARIABLES = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "VIRTUAL_ENV")


class StoppedError(IsthmusError):
    """The agent is being stopped: nothing was found out."""


def run(directory: Path, manifest: Manifest, stop: threading.Event) -> None:
    """Tests a bundle in a process of its own. Raises IntegrityError with what it found, StoppedError when stop is set."""
    child = subprocess.Popen(
        [sys.executable, "-m", "isthmus.agent.selftest", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _VARIABLES if name in os.environ},
    )
    try:
        output = _wait(child, manifest.to_bytes(), stop)
    finally:
        child.kill()
        child.wait()
    if child.returncode != 0:
        how = f"was ended by signal {-child.returncode}" if child.returncode < 0 else f"failed with status {child.returncode}"
        raise IntegrityError(f"the self-test {how}")
    refused = json.loads(output.splitlines()[-1])["refused"]
    if refused is not None:
        raise IntegrityError(refused)


def _wait(child: "subprocess.Popen[bytes]", manifest: bytes, stop: threading.Event) -> bytes:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    given: bytes | None = manifest
    while True:
        try:
            return child.communicate(given, timeout=_POLL_SECONDS)[0]
        except subprocess.TimeoutExpired:
            given = None
        if stop.is_set():
            raise StoppedError("stopped during the self-test")
        if time.monotonic() > deadline:
            raise IntegrityError(f"the self-test did not end within {TIMEOUT_SECONDS} s")


def check(model: Model, golden: bytes) -> float:
    """The largest difference between the model's answer and the golden one.

    golden: JSON, `inputs` and `outputs` by name in column form, one example an entry.

    Raises IntegrityError where it is above the manifest's tolerance, or where there is no answer.
    """
    manifest, signature = model.manifest, model.signature
    try:
        document = json.loads(golden)
        inputs = _arrays(document["inputs"], signature)
        wanted = _arrays(document["outputs"], Signature(signature.outputs, {}))
    except (ValueError, KeyError, TypeError, RestError) as error:
        raise IntegrityError(f"the golden vectors cannot be read: {type(error).__name__} {error}") from error
    difference = max((_difference(model, inputs, wanted, part) for part in _parts(inputs, signature)), default=float("inf"))
    if not difference <= manifest.golden_tolerance:
        allowed = manifest.golden_tolerance
        raise IntegrityError(f"golden vectors: an answer is off by {difference:.6g}, allowed is {allowed:.6g}")
    return difference


def _parts(inputs: Arrays, signature: Signature) -> list[slice]:
    """Each example alone, as the tolerance was measured; then all at once, where the signature promises any batch size."""
    examples = min((len(array) for array in inputs.values()), default=0)
    parts = [slice(index, index + 1) for index in range(examples)]
    if examples > 1 and all(info.shape is not None and info.shape[:1] == (-1,) for info in signature.inputs.values()):
        parts.append(slice(None))
    return parts


def _difference(model: Model, inputs: Arrays, wanted: Arrays, part: slice) -> float:
    try:
        found = model.predict({name: array[part] for name, array in inputs.items()})
    except (InterpreterError, RestError) as error:
        raise IntegrityError(f"the golden vectors get no answer: {error}") from error
    return max_difference(found, {name: array[part] for name, array in wanted.items()})


def _arrays(columns: Any, signature: Signature) -> Arrays:
    """The arrays in a column form, read as a request's would be: of the signature's dtypes, by the names of its inputs."""
    body = json.dumps({"inputs": columns}).encode()
    return parse_predict(body, {DEFAULT_SIGNATURE: signature}).inputs


def _main(directory: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer: dict[str, Any] = {"refused": None, "max_difference": None}
    try:
        manifest = Manifest.from_bytes(sys.stdin.buffer.read())
        answer["max_difference"] = check(Model(directory, manifest), (directory / manifest.golden.path).read_bytes())
    except IntegrityError as error:
        answer["refused"] = str(error)
    # The interpreter writes to stdout as well, at times: the answer has a line of its own, the last.
    sys.stdout.write("\n" + json.dumps(answer))
    sys.stdout.flush()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
