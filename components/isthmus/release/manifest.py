"""A release: what was compiled, content-addressed.

The manifest names every file with its size and sha256, and nothing that differs between two honest compilations of the
same source. Its canonical JSON is hashed into the release's digest: `Manifest.from_bytes(m.to_bytes()) == m` and
`m.digest == "sha256:" + sha256(m.to_bytes())`. Times differ from run to run: they are the `Record`, kept beside the
manifest and outside the digest.

A release lies in one directory:

    manifest.json   canonical JSON; its sha256 is the release's digest
    record.json     measured times and the machine's class
    golden.json     golden vectors: a predict request and the source model's answer
    serving/VERSION/saved_model.pb …   the `serving` variant
    edge/model.tflite                  the `edge` variant
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from isthmus.errors import IntegrityError

FORMAT = 1
MANIFEST_NAME = "manifest.json"
RECORD_NAME = "record.json"
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
    tools: versions of what compiled it.
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
    format: int = FORMAT

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
        """Canonical JSON: sorted keys, no spaces, UTF-8."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.to_bytes()).hexdigest()

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
                    "inputs": tuple(_tensor(spec) for spec in raw["inputs"]),
                    "outputs": tuple(_tensor(spec) for spec in raw["outputs"]),
                    "variants": tuple(Variant(**{**v, "files": tuple(FileEntry(**f) for f in v["files"])}) for v in raw["variants"]),
                    "golden": FileEntry(**raw["golden"]),
                    "tools": tuple((name, version) for name, version in raw["tools"]),
                }
            )
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"not a release manifest: {error}") from error


def _tensor(raw: Mapping[str, Any]) -> TensorSpec:
    shape = raw["shape"]
    return TensorSpec(raw["name"], raw["dtype"], None if shape is None else tuple(shape))


@dataclass(frozen=True)
class Timing:
    """Time of one request with one example, in milliseconds."""

    mean_ms: float
    p50_ms: float
    p95_ms: float
    requests: int


@dataclass(frozen=True)
class Record:
    """Times measured once, when the release was made. They travel with it and are not part of the digest.

    machine_class: such as "x86_64 2 cores".
    serving: one REST predict call through the embedded server, one at a time: what M/M/c calls the service time.
    edge: one run of the interpreter.
    """

    machine_class: str
    measured_at: str
    serving: Timing
    edge: Timing

    @property
    def service_rate_per_second(self) -> float:
        """μ of one server: requests per second that it can answer one after the other."""
        return 1000.0 / self.serving.mean_ms

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Record":
        """Raises IntegrityError where data is not a record."""
        try:
            raw = json.loads(data)
            return cls(**{**raw, "serving": Timing(**raw["serving"]), "edge": Timing(**raw["edge"])})
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"not a release record: {error}") from error


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
