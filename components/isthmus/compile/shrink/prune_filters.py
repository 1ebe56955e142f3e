"""Structured pruning: whole filters and units go, so that every layer that read them shrinks too."""

from typing import Any

from isthmus.compile.recipes import Step
from isthmus.compile.shrink.graph import weight_count
from isthmus.compile.shrink.narrow import least_important, narrow
from isthmus.compile.shrink.training import Progress, Training


def prune_filters(model: Any, step: Step, training: Training | None, progress: Progress, where: str) -> Any:
    """`prune-filters:50%`: without that share of all filters, the least important ones of the network, then fine-tuned."""
    assert training is not None  # noqa: S101  (shrink saw to it)
    before = weight_count(model)
    narrowed = narrow(model, least_important((step.percent or 0) / 100), where)
    progress(f"{step.text}: {narrowed.removed} of {narrowed.removable} filters removed, {before} → {weight_count(narrowed.model)} weights")
    training.fit(narrowed.model, training.epochs_of(step.name), progress=progress, text=f"{step.text}: fine-tune", where=where)
    return narrowed.model
