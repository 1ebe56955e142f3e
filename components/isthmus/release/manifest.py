"""A release: what was compiled, content-addressed.

The manifest names every file with its size and sha256, and nothing that differs between two honest compilations of the
same source. Its canonical JSON is hashed into the release's digest: `Manifest.from_bytes(m.to_bytes()) == m` and
`m.digest == "sha256:" + sha256(m.to_bytes())`. Times differ from run to run: they are the `Record`, kept beside the
manifest and outside the digest.

A release lies in one directory:

    manifest.json   canonical JSON; its sha256 is the release's digest
    record.json     measured times, the machine's class, and every recipe that was tried
    golden.json     golden vectors: a predict request and the source model's answer
    serving/VERSION/saved_model.pb …   the `serving` variant
    edge/model.tflite                  the `edge` variant

One of the two variants may be missing: a .tflite source makes no serving variant, recipe serving-only no edge variant.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from isthmus.digest import Digest
from isthmus.errors import IntegrityError
from isthmus.release.confidences import Calibration, Confidences

FORMAT = 1
MANIFEST_NAME = "manifest.json"
RECORD_NAME = "record.json"
# Of a large network and many recipes: every layer of every candidate is in it.
MAX_RECORD_BYTES = 16 << 20
GOLDEN_NAME = "golden.json"
SERVING = "serving"
EDGE = "edge"


@dataclass(frozen=True)
class FileEntry:
    """One file of a release. path: posix, relative to the release's directory."""

    path: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.path).parts
        if not parts or self.path.startswith("/") or ".." in parts or "\\" in self.path:
            raise IntegrityError(f"manifest names a file outside the release: {self.path!r}")


@dataclass(frozen=True)
class TensorSpec:
    """dtype: numpy's name, or "string". shape: -1 where any size is accepted; None where the rank is unknown."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "TensorSpec":
        """The inverse of `asdict`, through JSON. Raises KeyError, TypeError."""
        shape = raw["shape"]
        return cls(raw["name"], raw["dtype"], None if shape is None else tuple(shape))


@dataclass(frozen=True)
class Variant:
    """One compiled file set of a release.

    kind: SERVING (a SavedModel) or EDGE (a TFLite file).
    accuracy: share of the evaluation set that is answered right, in [0, 1]; None without an evaluation set.
    max_output_difference: largest absolute difference to the source model's outputs on the golden vectors.
    """

    kind: str
    recipe: str
    files: tuple[FileEntry, ...]
    accuracy: float | None
    max_output_difference: float

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class Manifest:
    """What a release is. signature: the name that both variants answer to, with inputs and outputs by name.

    source_accuracy: the source model's own accuracy. evaluation_examples: size of the evaluation set (0: none).
    tools: versions of what compiled it. calibration: of the edge variant; None where nothing says how sure it is, as in releases that
    earlier versions made.
    """

    model: str
    version: int
    recipe: str
    signature: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    variants: tuple[Variant, ...]
    golden: FileEntry
    golden_tolerance: float
    source_accuracy: float | None
    evaluation_examples: int
    tools: tuple[tuple[str, str], ...]
    calibration: Calibration | None = None
    format: int = FORMAT

    def has(self, kind: str) -> bool:
        """Whether there is a variant of that kind, SERVING or EDGE. A release has one of them or both."""
        return any(variant.kind == kind for variant in self.variants)

    def variant(self, kind: str) -> Variant:
        """The variant of that kind. Raises IntegrityError where the release has none."""
        for variant in self.variants:
            if variant.kind == kind:
                return variant
        raise IntegrityError(f"release {self.digest} has no {kind} variant")

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Every file that the digest covers."""
        return (*(file for variant in self.variants for file in variant.files), self.golden)

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, UTF-8. Without a calibration as it was before there were any: digests stay."""
        content = asdict(self)
        if self.calibration is None:
            del content["calibration"]
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    @property
    def digest(self) -> Digest:
        return Digest.of(self.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Raises IntegrityError where data is not a manifest of this format."""
        try:
            raw = json.loads(data)
            if raw["format"] != FORMAT:
                raise IntegrityError(f"manifest format {raw['format']!r} is not supported; this Isthmus reads format {FORMAT}")
            return cls(
                **{
                    **raw,
                    "inputs": tuple(TensorSpec.from_json(spec) for spec in raw["inputs"]),
                    "outputs": tuple(TensorSpec.from_json(spec) for spec in raw["outputs"]),
                    "variants": tuple(Variant(**{**v, "files": tuple(FileEntry(**f) for f in v["files"])}) for v in raw["variants"]),
                    "golden": FileEntry(**raw["golden"]),
                    "tools": tuple((name, version) for name, version in raw["tools"]),
                    "calibration": Calibration(**raw["calibration"]) if "calibration" in raw else None,
                }
            )
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"not a release manifest: {error}") from error


@dataclass(frozen=True)
class Timing:
    """Time of one request with one example, in milliseconds.

    scv: squared coefficient of variation, (standard deviation / mean)²: 0 for a constant time, 1 for an exponential one,
    which is what queueing formulas suppose where nothing was measured.
    """

    mean_ms: float
    p50_ms: float
    p95_ms: float
    requests: int
    scv: float = 1.0


@dataclass(frozen=True)
class Layer:
    """One weight tensor as it was read back from the written file.

    bits: of each weight. squared_error: Σ(w − ŵ)² to the float weights. min_max_error: the same for a scale per channel that
    merely covers the largest weight, with the same codes.
    """

    name: str
    shape: tuple[int, ...]
    bits: int
    squared_error: float
    min_max_error: float


@dataclass(frozen=True)
class Candidate:
    """One recipe that was tried, and what its edge file was measured to do in the interpreter that devices have.

    Of a release without an edge variant it is the serving variant: size_bytes is the SavedModel's, p50_ms and p95_ms are the record's
    `serving`, and what only a file for devices has stays empty.

    shipped_bytes: the file deflated at level 9. accuracy: the record's metric, None without evaluation data.
    max_difference, mean_difference: absolute, to the source's outputs on the evaluation inputs. p50_ms, p95_ms: of one run with
    one example on one thread. peak_memory_bytes: what loading and running it adds to a fresh process; 0 where that is unknown.
    operators: names of what the file calls, sorted. confusion: examples by [right class][answered class]; empty where there
    are no classes or too many. training_seconds: spent on pruning and distilling. problem: why it is out; empty where it is
    sound, and then the figures hold.
    """

    recipe: str
    size_bytes: int = 0
    shipped_bytes: int = 0
    accuracy: float | None = None
    max_difference: float = 0.0
    mean_difference: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    peak_memory_bytes: int = 0
    operators: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    training_seconds: float = 0.0
    problem: str = ""

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Candidate":
        """The inverse of `asdict`, through JSON. Raises KeyError, TypeError."""
        layers = tuple(Layer(**{**layer, "shape": tuple(layer["shape"])}) for layer in raw.get("layers", ()))
        return cls(
            **{**raw, "operators": tuple(raw.get("operators", ())), "layers": layers, "confusion": _matrix(raw.get("confusion", ()))}
        )


@dataclass(frozen=True)
class Record:
    """What was measured once, when the release was made. It travels with the release and is not part of the digest.

    machine_class: such as "x86_64 2 cores".
    serving: one REST predict call through the embedded server, one at a time: what M/M/c calls the service time. None where
        the release has no serving variant.
    edge: one run of the interpreter. None where the release has no edge variant.
    candidates: every recipe that was tried. reason: why the release's one was chosen.
    metric: what the accuracies are. source_confusion: as a candidate's, of the source.
    measured_with: a hash over what measured the times, in hex; empty where that is unknown.
    confidences: of the edge variant beside the serving variant; None where one of them is missing, where there are no classes, and in
        records of earlier versions.
    halves: of a release that has halves of its network: what they were measured to take, as `isthmus_agent.formats.halves` reads it.
    """

    machine_class: str
    measured_at: str
    serving: Timing | None
    edge: Timing | None
    candidates: tuple[Candidate, ...] = ()
    reason: str = ""
    metric: str = "accuracy"
    source_confusion: tuple[tuple[int, ...], ...] = ()
    measured_with: str = ""
    confidences: Confidences | None = None
    halves: Mapping[str, Any] | None = None

    def timing(self, kind: str) -> Timing:
        """Of the variant of that kind, SERVING or EDGE. Raises IntegrityError where the release has none."""
        timing = {SERVING: self.serving, EDGE: self.edge}[kind]
        if timing is None:
            raise IntegrityError(f"the release has no {kind} variant")
        return timing

    @property
    def service_rate_per_second(self) -> float:
        """μ of one server: requests per second that it can answer one after the other."""
        return 1000.0 / self.timing(SERVING).mean_ms

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Record":
        """Reads records of earlier versions too. Raises IntegrityError where data is not a record."""
        try:
            raw = json.loads(data)
            return cls(
                **{
                    **raw,
                    "serving": None if raw["serving"] is None else Timing(**raw["serving"]),
                    "edge": None if raw["edge"] is None else Timing(**raw["edge"]),
                    "candidates": tuple(Candidate.from_json(found) for found in raw.get("candidates", ())),
                    "source_confusion": _matrix(raw.get("source_confusion", ())),
                    "confidences": Confidences.from_json(raw["confidences"]) if raw.get("confidences") else None,
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(f"not a release record: {error}") from error


def _matrix(rows: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in rows)


@dataclass(frozen=True)
class Release:
    """A complete release in a directory of this machine."""

    directory: Path
    manifest: Manifest
    record: Record

    @property
    def digest(self) -> str:
        return self.manifest.digest

    def path(self, file: FileEntry) -> Path:
        return self.directory / file.path
