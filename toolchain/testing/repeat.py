"""The whole run many times, with processes beside it that do nothing but work: which tests are flaky on a busy machine?

`python -m toolchain.testing.repeat --runs 10 --burners 2 [arguments of pytest]`, run in the project folder. What it found is in
build/repeated.json, after each run: it can be looked at, and ended, at any time.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolchain.testing.__main__ import FOLDER, REPORT, say

FILE = FOLDER.parent / "repeated.json"
_BURN = "while True:\n    pass\n"


@contextmanager
def burners(count: int) -> Iterator[None]:
    """Processes that keep a core busy each, while the block runs."""
    started = [subprocess.Popen([sys.executable, "-c", _BURN], stdin=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def summary(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What runs found: each one's counts and seconds, and in how many of them a test was flaky or failed."""
    return {
        "runs": [{"counts": report.get("counts", {}), "seconds": report.get("seconds")} for report in reports],
        "flaky": dict(Counter(name for report in reports for name in report.get("flaky", [])).most_common()),
        "failed": dict(Counter(name for report in reports for name in report.get("failed", [])).most_common()),
    }


def main(arguments: Sequence[str]) -> int:
    """Runs all tests again and again; returns 0 where no test was flaky or failed."""
    parser = argparse.ArgumentParser(prog="python -m toolchain.testing.repeat", description="Looks for flaky tests.")
    parser.add_argument("--runs", type=int, default=10, help="how many (default: %(default)s)")
    parser.add_argument("--burners", type=int, default=1, help="processes that work beside them (default: %(default)s)")
    options, rest = parser.parse_known_args(arguments)
    reports: list[dict[str, Any]] = []
    ended_well = True
    with burners(options.burners):
        for number in range(1, options.runs + 1):
            (FOLDER / REPORT).unlink(missing_ok=True)
            status = subprocess.run([sys.executable, "-m", "toolchain.testing", *rest], stdin=subprocess.DEVNULL, check=False).returncode
            ended_well = ended_well and status == 0
            file = Path(FOLDER / REPORT)
            reports.append(json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {})
            found = summary(reports)
            FILE.write_text(json.dumps(found, indent=1), encoding="utf-8")
            say(f"run {number} of {options.runs} ended with status {status}; so far flaky: {found['flaky'] or 'none'}")
    return 0 if ended_well and not found["flaky"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
