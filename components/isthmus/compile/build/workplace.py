"""The folder in which one compile's jobs leave each other what they found: the only thing that they share.

serving/VERSION/              the serving variant; absent where the source is a file for devices
float.tflite                  the source for devices, not compressed yet; absent where no candidate begins with it
prepared.json, answers.npz    `Prepared`, and what the source answers on the evaluation inputs
served.npz                    what the serving variant answers on them; absent where there is none
golden.json                   golden vectors
candidates/N/model.tflite     what recipe N made
candidates/N/candidate.json   `Proof`: what it was measured to do
release/                      the release, complete once the last job has ended
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.release.confidences import Calibration, Confidences
from isthmus.release.manifest import Candidate, TensorSpec

EDGE_NAME = "model.tflite"
_ANSWERS, _SERVED = "answers.npz", "served.npz"


@dataclass(frozen=True)
class Prepared:
    """What is known once the source was loaded.

    serving_accuracy, serving_difference: of the serving variant, the difference on the golden vectors. None without one.
    golden_decimals: what the golden vectors' floats are rounded to. recipes: what is tried, by index. served_alone: the serving
    variant's figures where it is the whole release, and nothing is tried.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    examples: int
    metric: str
    source_accuracy: float | None
    source_confusion: tuple[tuple[int, ...], ...]
    serving_accuracy: float | None
    serving_difference: float | None
    golden_decimals: int
    recipes: tuple[str, ...]
    served_alone: Candidate | None = None


@dataclass(frozen=True)
class Proof:
    """candidate: its figures, without times. golden_difference: the largest to the source's answers on the golden vectors. calibration,
    confidences: see `sureness`."""

    candidate: Candidate
    golden_difference: float
    calibration: Calibration | None = None
    confidences: Confidences | None = None


class Workplace:
    """One compile's folder; every method is a plain read or write of one file. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.serving = folder / "serving"
        self.float_model = folder / "float.tflite"
        self.golden = folder / "golden.json"
        self.release = folder / "release"

    def candidate(self, index: int) -> Path:
        """The folder of one recipe."""
        return self.folder / "candidates" / str(index)

    def edge(self, index: int) -> Path:
        """The file that one recipe made."""
        return self.candidate(index) / EDGE_NAME

    def save_answers(self, answers: Mapping[str, NDArray[Any]]) -> None:
        self._save(_ANSWERS, answers)

    def answers(self) -> dict[str, NDArray[Any]]:
        """The source's outputs by name, [examples, …]."""
        return self._load(_ANSWERS)

    def save_served(self, answers: Mapping[str, NDArray[Any]]) -> None:
        self._save(_SERVED, answers)

    def served(self) -> dict[str, NDArray[Any]] | None:
        """The serving variant's outputs by name, [examples, …]; None where there is none."""
        return self._load(_SERVED) if (self.folder / _SERVED).exists() else None

    def _save(self, name: str, answers: Mapping[str, NDArray[Any]]) -> None:
        # Texts are objects to numpy. The file is this compile's own, so that reading them back runs nobody else's code.
        np.savez(self.folder / name, allow_pickle=True, **dict(answers))

    def _load(self, name: str) -> dict[str, NDArray[Any]]:
        with np.load(self.folder / name, allow_pickle=True) as archive:
            return dict(archive)

    def save_prepared(self, prepared: Prepared) -> None:
        self._write("prepared.json", asdict(prepared))

    def prepared(self) -> Prepared:
        raw = self._read("prepared.json")
        specs = {side: tuple(TensorSpec.from_json(spec) for spec in raw[side]) for side in ("inputs", "outputs")}
        confusion = tuple(tuple(row) for row in raw["source_confusion"])
        alone = raw["served_alone"] and Candidate.from_json(raw["served_alone"])
        return Prepared(**{**raw, **specs, "source_confusion": confusion, "recipes": tuple(raw["recipes"]), "served_alone": alone})

    def save_proof(self, index: int, proof: Proof) -> None:
        self.candidate(index).mkdir(parents=True, exist_ok=True)
        self._write(f"candidates/{index}/candidate.json", asdict(proof))

    def proof(self, index: int) -> Proof | None:
        """None where the job for that recipe did not get to an end."""
        try:
            raw = self._read(f"candidates/{index}/candidate.json")
        except FileNotFoundError:
            return None
        calibration, confidences = raw["calibration"], raw["confidences"]
        return Proof(
            Candidate.from_json(raw["candidate"]),
            raw["golden_difference"],
            calibration and Calibration(**calibration),
            confidences and Confidences.from_json(confidences),
        )

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        (self.folder / name).write_text(json.dumps(content), encoding="utf-8")

    def _read(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return found
