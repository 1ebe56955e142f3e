"""The release, put together from what a compile's jobs have left."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from isthmus.compile.build.choose import Choice, choose
from isthmus.compile.build.export import SIGNATURE
from isthmus.compile.build.golden import golden_noise, golden_tolerance, nice_ceiling
from isthmus.compile.build.workplace import EDGE_NAME, Prepared, Proof, Workplace
from isthmus.compile.key import tool_versions
from isthmus.compile.recipes import FLOAT32, SERVERS_ALONE, SERVING_ONLY, Recipe
from isthmus.compile.request import CompileRequest
from isthmus.compile.times import machine_class, measured_with
from isthmus.errors import Problem, SourceError
from isthmus.release.hashing import file_sha256
from isthmus.release.manifest import (
    EDGE,
    GOLDEN_NAME,
    MANIFEST_NAME,
    RECORD_NAME,
    SERVING,
    Candidate,
    FileEntry,
    Manifest,
    Record,
    Timing,
    Variant,
)


def assemble(request: CompileRequest, work: Workplace, lost: Mapping[int, str], times: Mapping[str, Timing]) -> Choice:
    """Writes the release: of the chosen candidate, or of the serving variant alone.

    Args:
        times: of one request, by what was timed: SERVING, or a candidate's index as a text; of all variants that are sound.
        lost: why a candidate's job came to no end, by its index.

    Raises:
        SourceError: no candidate is sound.
        GateError: none keeps the accuracy that was asked for.
    """
    prepared = work.prepared()
    proofs = [_timed(work.proof(index), recipe, index, times, lost) for index, recipe in enumerate(prepared.recipes)]
    tried = tuple(proof.candidate for proof in proofs) or (_served(prepared, times[SERVING]),)
    if all(candidate.problem for candidate in tried):
        fix = SERVERS_ALONE if work.serving.exists() else ""
        problems = [Problem(f"{request.model}.recipe", f"{candidate.recipe}: {candidate.problem}", fix=fix) for candidate in tried]
        raise SourceError(problems)
    choice = choose(
        tried,
        Recipe.of(request.recipe),
        min_accuracy=request.min_accuracy,
        source_accuracy=prepared.source_accuracy,
        where=request.model,
        metric=prepared.metric,
    )
    proof = proofs[choice.index] if proofs else None
    _lay_out(work, choice.index if proof else None)
    manifest = _manifest(request, work.release, prepared, proof)
    record = Record(
        machine_class=machine_class(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        serving=times.get(SERVING),
        edge=times[str(choice.index)] if proof else None,
        candidates=tried,
        reason=choice.reason,
        metric=prepared.metric,
        source_confusion=prepared.source_confusion,
        measured_with=measured_with(),
        confidences=proof.confidences if proof else None,
    )
    (work.release / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    (work.release / RECORD_NAME).write_bytes(record.to_bytes())
    return choice


def _served(prepared: Prepared, timing: Timing) -> Candidate:
    """The serving variant where it is the whole release; its time is that of a REST call."""
    assert prepared.served_alone is not None  # noqa: S101 - prepare saw to it
    return replace(prepared.served_alone, p50_ms=timing.p50_ms, p95_ms=timing.p95_ms)


def _timed(proof: Proof | None, recipe: str, index: int, times: Mapping[str, Timing], lost: Mapping[int, str]) -> Proof:
    if proof is None:
        return Proof(Candidate(recipe, problem=lost.get(index, "its worker came to no end")), 0.0)
    timing = times.get(str(index))
    if timing is None:
        return proof
    return replace(proof, candidate=replace(proof.candidate, p50_ms=timing.p50_ms, p95_ms=timing.p95_ms))


def _lay_out(work: Workplace, index: int | None) -> None:
    """index: of the candidate; None where the serving variant is all."""
    release = work.release
    release.mkdir()
    if index is not None:
        (release / EDGE).mkdir()
        shutil.copyfile(work.edge(index), release / EDGE / EDGE_NAME)
    shutil.copyfile(work.golden, release / GOLDEN_NAME)
    if work.serving.exists():
        work.serving.rename(release / SERVING)


def _manifest(request: CompileRequest, release: Path, prepared: Prepared, proof: Proof | None) -> Manifest:
    """Nothing in it differs between two honest compiles: measured differences are rounded up far above the last bits."""
    noise = golden_noise(prepared.golden_decimals)
    variants: list[Variant] = []
    differences: list[float] = []
    if prepared.serving_difference is not None:
        ceiling = nice_ceiling(prepared.serving_difference, noise)
        variants.append(Variant(SERVING, FLOAT32, _entries(release, SERVING), prepared.serving_accuracy, ceiling))
        differences.append(prepared.serving_difference)
    if proof is not None:
        edge, ceiling = proof.candidate, nice_ceiling(proof.golden_difference, noise)
        variants.append(Variant(EDGE, edge.recipe, _entries(release, EDGE), edge.accuracy, ceiling))
        differences.append(proof.golden_difference)
    return Manifest(
        model=request.model,
        version=request.version,
        recipe=proof.candidate.recipe if proof else SERVING_ONLY,
        signature=SIGNATURE,
        inputs=prepared.inputs,
        outputs=prepared.outputs,
        variants=tuple(variants),
        golden=_entry(release, release / GOLDEN_NAME),
        golden_tolerance=golden_tolerance(prepared.golden_decimals, differences),
        source_accuracy=prepared.source_accuracy,
        evaluation_examples=prepared.examples,
        tools=tool_versions(),
        calibration=proof.calibration if proof else None,
    )


def _entry(release: Path, path: Path) -> FileEntry:
    return FileEntry(path.relative_to(release).as_posix(), path.stat().st_size, file_sha256(path))


def _entries(release: Path, kind: str) -> tuple[FileEntry, ...]:
    return tuple(_entry(release, path) for path in sorted((release / kind).rglob("*")) if path.is_file())
