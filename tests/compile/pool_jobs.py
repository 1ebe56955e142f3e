"""Jobs for the pool's tests: none needs TensorFlow, so that a worker starts in a moment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from isthmus.errors import Problem, SourceError

Job = dict[str, Any]
Say = Callable[[str], None]
STEPS_ON_THE_WAY = 100
started = 0


def who(job: Job, say: Say) -> Job:
    """Which process this is, and the how-manieth of its jobs."""
    global started  # noqa: PLW0603 - the point of it
    started += 1
    return {"pid": os.getpid(), "jobs": started, "environment": sorted(os.environ), "temporary": os.environ["TMPDIR"], "cwd": os.getcwd()}


def echo(job: Job, say: Say) -> Job:
    sys.stdout.write("noise that must not disturb\n")
    say("half")
    return job


def count(job: Job, say: Say) -> Job:
    """Writes its process id and a number into a file as fast as it can, until another file appears."""
    file, number = Path(job["file"]), 0
    while not Path(job["until"]).exists():
        number += 1
        file.with_suffix(".new").write_text(f"{os.getpid()} {number}")
        file.with_suffix(".new").replace(file)
        time.sleep(0.002)
    return {"pid": os.getpid()}


def watch(job: Job, say: Say) -> Job:
    """Whether the process that counts in a file is stopped, or goes on counting: whichever is seen first."""
    pid, begun = map(int, Path(job["file"]).read_text().split())
    # What was on its way when it was stopped may still come.
    while not (stopped := psutil.Process(pid).status() == psutil.STATUS_STOPPED):
        if int(Path(job["file"]).read_text().split()[1]) > begun + STEPS_ON_THE_WAY:
            break
        time.sleep(0.002)
    if job.get("fail"):
        raise SourceError([Problem("m", "failed while alone")])
    return {"stopped": stopped}


def slow(job: Job, say: Say) -> Job:
    """Starts a child, says who both are, and sleeps."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(os.environ["TMPDIR"], "partial").write_text("half")
    say(f"{os.getpid()} {child.pid}")
    time.sleep(600)
    return {}


def end(job: Job, say: Say) -> Job:
    """Ends as it is told: by a signal, with a code, with last words."""
    sys.stderr.write(job.get("words", ""))
    sys.stderr.flush()
    if "signal" in job:
        os.kill(os.getpid(), job["signal"])
        signal.pause()
    os._exit(job["code"])


def fail(job: Job, say: Say) -> Job:
    raise {
        "source": SourceError([Problem("m.model", "is wrong", "a right one", "mend it")]),
        "value": ValueError("odd"),
        "exit": SystemExit(3),
        "memory": MemoryError("no room"),
        "full": OSError(28, "No space left on device"),
        "absent": ModuleNotFoundError("no tensorflow", name="tensorflow"),
    }[job["how"]]


def hog(job: Job, say: Say) -> Job:
    return {"bytes": len(bytearray(job["bytes"]))}


def read_input(job: Job, say: Say) -> Job:
    """What a child of the job reads of standard input."""
    return {"read": subprocess.run(["cat"], capture_output=True, check=True).stdout.decode()}


JOBS = {job.__name__: job for job in (who, echo, count, watch, slow, end, fail, hog, read_input)}
