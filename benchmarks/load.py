"""Whether plans hold under load: `python benchmarks/load.py [--seconds S] [--rounds N] [--json FILE] [--only replicas|unequal]`.

vegeta (`load_generator/`) sends requests at random times, whatever the answers do, to gateways of the local platform. The model
waits instead of computing (`paced_model.py`): two cores could not keep the planned number of servers busy otherwise.

- replicas (`load_replicas.py`): is the p95 within the objective at the planned demand, and beyond it with one replica less?
- unequal (`load_unequal.py`): the mean response time of three servers of speeds 4:2:1 under the gateway's policies.

Times are as the client sees them.
"""

import argparse
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import generator
import load_replicas
import load_unequal
from report import machine
from rich.console import Console

PARTS = {"replicas": load_replicas, "unequal": load_unequal}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90.0, help="of load in each run, after a warm-up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where the figures are written too")
    parser.add_argument("--only", choices=tuple(PARTS))
    options = parser.parse_args()
    generator.program()
    where = f"{datetime.now(UTC).date()}, {machine()}"
    found: dict[str, object] = {"machine": where}
    for name, part in PARTS.items():
        if options.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                runs = part.measure(Path(folder), options.seconds, options.rounds)
            found[name] = runs
            Console(width=150).print(part.table(runs, where))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
