"""Promises that a release has to keep."""

from isthmus.errors import Problem
from isthmus.release.manifest import Release


def check_accuracy(release: Release, min_accuracy: float, path: str) -> list[Problem]:
    """One problem for each variant whose measured accuracy is below min_accuracy (in [0, 1]).

    Args:
        path: property path of the component; the gate is its `min_accuracy`.
    """
    manifest = release.manifest
    where = f"{path}.min_accuracy" if path else "min_accuracy"
    if manifest.evaluation_examples == 0:
        return [
            Problem(
                where,
                f"the accuracy of {manifest.model} is unknown: its source has no evaluation data",
                "evaluation data to measure it on",
                "put an evaluation.npz (x, y) into the model folder, or leave min_accuracy out",
            )
        ]
    problems = []
    for variant in manifest.variants:
        if variant.accuracy is None or variant.accuracy >= min_accuracy:
            continue
        lost_by_recipe = manifest.source_accuracy is not None and manifest.source_accuracy >= min_accuracy
        fix = (
            f"the source reaches {manifest.source_accuracy:.4f}, so recipe {variant.recipe} lost it: choose a milder recipe"
            if lost_by_recipe
            else f"train the model further, or lower min_accuracy to {int(variant.accuracy * 10000) / 10000}"
        )
        problems.append(
            Problem(
                where,
                f"the {variant.kind} variant ({variant.recipe}) of {manifest.model} is right on {variant.accuracy:.4f} of "
                f"{manifest.evaluation_examples} held-out examples, {min_accuracy - variant.accuracy:.4f} too few",
                f"at least {min_accuracy}",
                fix,
            )
        )
    return problems
