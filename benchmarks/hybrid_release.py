"""What `hybrid.py` knows of a release, all of it measured: each held-out example's answers, times, bytes, and the ways of a network cut
in two.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isthmus.compile import CompileRequest, compile_release
from isthmus.compile.answering import edge_answers
from isthmus.compile.halves.measured import Measured
from isthmus.compile.halves.run import measure_cuts
from isthmus.compile.key import resolve
from isthmus.offload.choosing import choose
from isthmus.offload.rows import rows_of
from isthmus.offload.scores import calibrated
from isthmus.release.cache import ReleaseCache, default_cache_directory
from isthmus.release.confidences import Group
from isthmus.release.manifest import EDGE, SERVING, Release, Timing

MODEL, RECIPE = "models/commands", "int4"
Flags = NDArray[np.bool_]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """The examples are in the order of their calibrated confidence, the least sure first.

    sure: calibrated confidence. certainty: Sedna's, 1 − H(p)/log n of the raw probabilities. edge_right, serving_right: who answers it
    right. auto: the threshold that `min_confidence: auto` takes. device, cloud: one run of the variants, here, in ms. cuts: of the network.
    """

    digest: str
    sure: Numbers
    certainty: Numbers
    edge_right: Flags
    serving_right: Flags
    auto: float
    device: Timing
    cloud: Timing
    request_bytes: int
    answer_bytes: int
    cuts: Measured


def known(say: Callable[[str], None]) -> Known:
    """Of the release and its cuts, out of the cache where they are in it."""
    request = CompileRequest("commands", MODEL, RECIPE)
    release, cuts = asyncio.run(_made(request, say))
    with np.load(Path(MODEL) / "evaluation.npz") as held_out:
        examples, labels = held_out["x"], held_out["y"]
    calibration, measured = release.manifest.calibration, release.record.confidences
    if calibration is None or measured is None:
        raise SystemExit(f"{MODEL} says not how sure its answers are")
    say("ask the edge variant")
    answers = np.asarray(edge_answers(release, {"x": examples}, MODEL, "evaluation.npz")["x"], np.float64)
    sure = calibrated(answers, calibration)
    order = np.argsort(np.round(sure, 6), kind="stable")
    answers, sure, labels = answers[order], sure[order], labels[order]
    edge_right = answers.argmax(axis=1) == labels
    rows = rows_of(measured.groups)
    return Known(
        release.digest,
        sure,
        1 + (answers * np.log(np.maximum(answers, 1e-300))).sum(axis=1) / np.log(answers.shape[1]),
        edge_right,
        serving_right(measured.groups, edge_right),
        rows[choose(rows).index].threshold,
        release.record.timing(EDGE),
        release.record.timing(SERVING),
        measured.request_bytes,
        measured.answer_bytes,
        cuts,
    )


async def _made(request: CompileRequest, say: Callable[[str], None]) -> tuple[Release, Measured]:
    cache = ReleaseCache(default_cache_directory())
    source = await asyncio.to_thread(resolve, request)
    release = await compile_release(request, cache, say, source=source)
    return release, await measure_cuts(request, release, source.evaluation, cache, say)


def serving_right(groups: tuple[Group, ...], edge_right: Flags) -> Flags:
    """Which examples the serving variant answers right, [N], from the record's counts: exact for each group of about equal confidence and
    whether the edge variant is right; which of two or three such examples it is, the record does not say, and nothing here depends on it.
    """
    found, start = np.zeros(len(edge_right), np.bool_), 0
    for group in groups:
        here = np.arange(start, start + group.examples)
        right, wrong = here[edge_right[here]], here[~edge_right[here]]
        if len(right) != group.both + group.edge:
            raise SystemExit("the edge variant answers otherwise here than its record says: compile it anew on this machine")
        found[right[: group.both]] = found[wrong[: group.serving]] = True
        start += group.examples
    return found
