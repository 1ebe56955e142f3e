"""What the jobs on a variant's halves are given, as objects. Runs in a worker."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus.compile.build.evaluation import Evaluation, load_evaluation
from isthmus.compile.build.running import EdgeRunner
from isthmus.compile.halves.measured import MOST_EXAMPLES
from isthmus.compile.halves.trying import Halved
from isthmus.partition.cuts import Cut
from isthmus.release.manifest import TensorSpec


class Task:
    """What all jobs begin with."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.file, self.where = Path(job["file"]), str(job["where"])
        self.inputs, self.outputs = (tuple(TensorSpec.from_json(spec) for spec in job[side]) for side in ("inputs", "outputs"))
        path = Path(job["evaluation"]) if job["evaluation"] else None
        evaluation = load_evaluation(path, self.inputs, self.outputs, self.where)
        labels = evaluation.labels
        self.evaluation: Evaluation = replace(
            evaluation,
            inputs={name: values[:MOST_EXAMPLES] for name, values in evaluation.inputs.items()},
            labels=None if labels is None else labels[:MOST_EXAMPLES],
        )

    def whole(self) -> EdgeRunner:
        return EdgeRunner(self.file, self.inputs, self.outputs, self.where)

    def halved(self, data: bytes, place: Cut | None) -> Halved:
        return Halved.make(data, place, self.inputs, self.outputs, self.where)
