"""Slimming: batch normalisation folded; with an option, layers split by SVD, or all of them narrower."""

from typing import Any

from isthmus.compile.recipes import Step
from isthmus.compile.shrink.fold import fold
from isthmus.compile.shrink.graph import weight_count
from isthmus.compile.shrink.low_rank import factorise
from isthmus.compile.shrink.narrow import narrow, to_width
from isthmus.compile.shrink.training import Progress, Training


def slim(model: Any, step: Step, training: Training | None, progress: Progress, where: str) -> Any:
    """`slim`: fold. `slim:rank=90%`: and split where it pays. `slim:width=75%`: every layer narrower, fine-tuned, folded."""
    before, share = weight_count(model), (step.percent or 100) / 100
    done = []
    if step.kind[1] == "width":
        assert training is not None  # noqa: S101  (shrink saw to it)
        narrowed = narrow(model, to_width(share), where)
        model = narrowed.model
        done.append(f"{narrowed.removed} of {narrowed.removable} filters removed")
        # Folded after it: training goes better with the normalisation.
        training.fit(model, training.epochs_of(step.name), progress=progress, text=f"{step.text}: fine-tune", where=where)
    model, folded = fold(model, where)
    done.append(f"{folded} batch normalisations folded")
    if step.kind[1] == "rank":
        model, split = factorise(model, share, where)
        done.append(f"{split} layers split in two of lower rank")
    progress(f"{step.text}: {', '.join(done)}, {before} → {weight_count(model)} weights")
    return model
