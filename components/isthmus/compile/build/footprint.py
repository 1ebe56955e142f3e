"""What a .tflite file does to a fresh process: whether the interpreter stands it, and the memory that this takes.

A file may end the process instead of raising, so that every candidate runs here before it runs in a worker. As a program
(`python -m isthmus.compile.build.footprint FILE INPUTS.npz`): prints {"peak_memory_bytes": n} or {"refused": text}.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import Problem, SourceError

TIMEOUT_SECONDS = 300
_STATUS = Path("/proc/self/status")


def peak_memory_bytes(file: Path, inputs: Mapping[str, NDArray[Any]], where: str, way_out: str = "") -> int:
    """What loading the file and running it on each of the examples adds to the process's memory, at most; 0 where the system does
    not tell.

    Args:
        inputs: by name, [examples, …]. They are run one by one.
        way_out: what to advise where the interpreter refuses the file.

    Raises:
        SourceError: the interpreter refuses the file, dies of it, or does not come to an end.
    """
    examples = file.with_name("inputs.npz")
    np.savez(examples, allow_pickle=True, **dict(inputs))  # pickled texts: our own file
    command = [sys.executable, "-m", "isthmus.compile.build.footprint", str(file), str(examples)]
    try:
        child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        problem = Problem(where, f"the edge interpreter did not answer {_count(inputs)} examples within {TIMEOUT_SECONDS} s", fix=way_out)
        raise SourceError([problem]) from error
    finally:
        examples.unlink()
    if child.returncode != 0:
        last = (child.stderr.decode(errors="replace").strip().splitlines() or [""])[-1][:300]
        how = f"signal {-child.returncode}" if child.returncode < 0 else f"status {child.returncode}"
        raise SourceError([Problem(where, f"the edge interpreter dies of the model ({how}): {last}", fix=way_out)])
    answer = json.loads(child.stdout.splitlines()[-1])
    if "refused" in answer:
        raise SourceError([Problem(where, f"the edge interpreter cannot run the model: {answer['refused']}", fix=way_out)])
    return int(answer["peak_memory_bytes"])


def _count(inputs: Mapping[str, NDArray[Any]]) -> int:
    return len(next(iter(inputs.values())))


def _memory_bytes(field: str) -> int:
    """VmRSS: now; VmHWM: the most so far, of this program alone. Not from getrusage, which counts what the parent had before exec."""
    if not _STATUS.exists():
        return 0
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def _forget_peak() -> None:
    with contextlib.suppress(OSError):  # where that is not allowed, the imports' own peak stays in the figure
        Path("/proc/self/clear_refs").write_text("5")


def main(file: str, examples: str) -> dict[str, Any]:
    from ai_edge_litert.interpreter import Interpreter

    from isthmus.compile.sources.source import SERVING_SIGNATURE
    from isthmus.tflite.verify import verify

    with np.load(examples, allow_pickle=True) as archive:
        inputs = dict(archive)
    _forget_peak()
    before = _memory_bytes("VmRSS")
    content = Path(file).read_bytes()
    try:
        runner = Interpreter(model_content=content, num_threads=1).get_signature_runner(SERVING_SIGNATURE)
        for index in range(_count(inputs)):
            runner(**{name: values[index : index + 1] for name, values in inputs.items()})
    except (ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0][:300]
        custom = ", ".join(verify(content).custom_operators)
        return {"refused": f"devices have no kernels for {custom} ({reason})" if custom else reason}
    return {"peak_memory_bytes": max(0, _memory_bytes("VmHWM") - before)}


if __name__ == "__main__":
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand among the answer
    channel.write(json.dumps(main(*sys.argv[1:])) + "\n")
    channel.flush()
