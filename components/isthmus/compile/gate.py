"""Promises that a release has to keep, and how its candidates are shown to who asked for them."""

import math
from collections.abc import Sequence
from dataclasses import replace

from isthmus.compile.metrics import DEFAULT_METRIC
from isthmus.errors import Problem
from isthmus.release.manifest import Candidate, Release
from isthmus.words import kilobytes, percent


def listing(candidates: Sequence[Candidate], metric: str) -> str:
    """One indented line for each candidate: recipe, score, size, size as shipped; or why it is out."""
    width = max((len(candidate.recipe) for candidate in candidates), default=0)
    return "".join(
        f"\n    {it.recipe:<{width}}  out: {it.problem}"
        if it.problem
        else f"\n    {it.recipe:<{width}}  {metric} {percent(it.accuracy):>7}  {kilobytes(it.size_bytes):>10}"
        + (f"  {kilobytes(it.shipped_bytes):>10} as shipped" if it.shipped_bytes else "")
        for it in candidates
    )


def lower_to(score: float) -> str:
    """The nearest min_accuracy that a score keeps, with four decimals."""
    return f"{math.floor(score * 10_000 + 1e-6) / 10_000:g}"


def check_accuracy(release: Release, min_accuracy: float, path: str) -> list[Problem]:
    """One problem for each variant whose measured accuracy is below min_accuracy (in [0, 1]); the last lists all candidates.

    Args:
        path: property path of the component; the gate is its `min_accuracy`.
    """
    manifest, record = release.manifest, release.record
    where = f"{path}.min_accuracy" if path else "min_accuracy"
    if manifest.evaluation_examples == 0:
        return [
            Problem(
                where,
                f"the {record.metric} of {manifest.model} is unknown: its source has no evaluation data",
                "evaluation data to measure it on",
                "put an evaluation.npz (x, y) into the model folder, or leave min_accuracy out",
            )
        ]
    verb, preposition, too = ("is right on", "of", "few") if record.metric == DEFAULT_METRIC else (f"has {record.metric}", "on", "little")
    problems = []
    for variant in manifest.variants:
        if variant.accuracy is None or variant.accuracy >= min_accuracy:
            continue
        lost_by_recipe = manifest.source_accuracy is not None and manifest.source_accuracy >= min_accuracy
        fix = (
            f"the source reaches {manifest.source_accuracy:.4f}, so recipe {variant.recipe} lost it: choose a milder recipe, or auto"
            if lost_by_recipe
            else f"train the model further, or lower min_accuracy to {lower_to(variant.accuracy)}"
        )
        problems.append(
            Problem(
                where,
                f"the {variant.kind} variant ({variant.recipe}) of {manifest.model} {verb} {variant.accuracy:.4f} {preposition} "
                f"{manifest.evaluation_examples} held-out examples, {min_accuracy - variant.accuracy:.4f} too {too}",
                f"at least {min_accuracy}",
                fix,
            )
        )
    if problems and record.candidates:
        problems[-1] = replace(problems[-1], fix=f"{problems[-1].fix}. Tried:{listing(record.candidates, record.metric)}")
    return problems
