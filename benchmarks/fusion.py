"""A group of eight devices that read one digit, against its best member and other ways to make one answer of eight:
`python benchmarks/fusion.py [--seed N] [--json FILE]`.

Each device sees every held-out picture of models/digits in its own way: noisy, cut or turned. All have the same release (recipe int8), run
in the interpreter that devices have. All figures are of pictures that nothing was learned from: five folds, the same for everybody.

Others: the most votes (of several, the sum of probabilities among them), the mean of the probabilities, the product of the probabilities,
and a head on the members' features (`isthmus.fusion.head`: the last hidden layer of the int8 variant, 96 numbers a member, sent in a byte
each). Then with one member that lies, and one missing; bytes that each way sends; what a device's processor pays for one answer of the
group; and how the group's share grows with the number of devices.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import machine
from rich.console import Console
from rich.table import Table

from isthmus.compile import CompileRequest, compile_release
from isthmus.compile.answering import edge_answers, edge_embeddings
from isthmus.fusion.batch import evidence_of, fused
from isthmus.fusion.embedded import Embedded, embedded_of
from isthmus.fusion.learn import learn
from isthmus.fusion.lies import blind_lies, worst_lies
from isthmus.fusion.measures import difference, share
from isthmus.fusion.validate import FOLDS, folds, parts_of, validate
from isthmus.fusion.views import Views, views_of
from isthmus.fusion.ways import compare
from isthmus.release.cache import ReleaseCache, default_cache_directory
from isthmus_agent.core.fusion import Fusion
from isthmus_agent.core.trust import Trust
from isthmus_agent.formats.evidence import encode

DIGITS = Path(__file__).parents[1] / "models" / "digits"
SEED = 20
# Degrees that the device is turned by; rows and columns that it does not see; standard deviation of its noise, ink being 1.
VIEWS: Mapping[str, tuple[float, tuple[slice, slice] | None, float]] = {
    "door": (0, np.s_[:, :3], 0.2),
    "east": (18, None, 0.15),
    "gate": (-8, np.s_[:, 6:], 0.15),
    "north": (0, None, 0.3),
    "roof": (10, np.s_[:1, :], 0.15),
    "south": (0, np.s_[7:, :], 0.25),
    "west": (-15, None, 0.15),
    "yard": (0, None, 0.45),
}
Answers = NDArray[np.int64]


def seen(pictures: NDArray[np.float32], seed: int) -> dict[str, NDArray[np.float32]]:
    """What each device sees. pictures: [N, 8, 8, 1]. seed: of the noise."""
    from scipy import ndimage

    random, found = np.random.default_rng(seed), {}
    for name, (degrees, unseen, noise) in VIEWS.items():
        turned = ndimage.rotate(pictures[..., 0], degrees, axes=(2, 1), reshape=False, order=1)
        if unseen:
            turned[(slice(None), *unseen)] = 0
        noisy = turned + random.normal(0, noise, turned.shape)
        found[name] = np.clip(noisy, 0, 1).astype(np.float32)[..., None]
    return found


def voted(probabilities: NDArray[np.float64], heard: NDArray[np.bool_]) -> Answers:
    """Probabilities [members, N, classes] to the class with the most votes."""
    votes = np.eye(probabilities.shape[2])[probabilities.argmax(axis=2)][heard].sum(axis=0)
    return np.asarray((votes + probabilities[heard].mean(axis=0) / 2).argmax(axis=1))


def averaged(probabilities: NDArray[np.float64], heard: NDArray[np.bool_]) -> Answers:
    return np.asarray(probabilities[heard].mean(axis=0).argmax(axis=1))


def multiplied(probabilities: NDArray[np.float64], heard: NDArray[np.bool_]) -> Answers:
    return np.asarray(np.log(np.maximum(probabilities[heard], 1e-7)).sum(axis=0).argmax(axis=1))


def compared(views: Views) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Whether each example is right, by the way and what went wrong: nothing; or the best member lies, blindly or in the worst way, while
    the second best is missing."""
    fold = folds(views.labels)
    *_, missing, liar = np.argsort(views.right.mean(axis=1), kind="stable").tolist()  # the two best: the worst for the others
    found: dict[str, dict[str, NDArray[np.bool_]]] = {}
    for number in range(FOLDS):
        there, here = views.of(fold != number), views.of(fold == number)
        group = learn(there, "")
        fusion, evidence = Fusion(group), evidence_of(group, here)
        everybody = np.ones(evidence.shape[:2], np.bool_)
        some = everybody.copy()
        some[missing] = False
        honest = np.exp(here.log_probabilities)
        honest /= honest.sum(axis=2, keepdims=True)
        for case, heard, lies in (("nobody", everybody, None), ("blindly", some, blind_lies), ("worst", some, worst_lies)):
            said, shares = evidence, honest
            if lies:
                said = lies(fusion, evidence, here.labels, liar, heard)
                shares = honest.copy()
                shares[liar] = np.where(said[liar] == 0, 1.0, 0.0)
            ways = {
                "weighted log-odds": fused(fusion, said, heard).answers,
                "majority": voted(shares, heard[:, 0]),
                "mean of probabilities": averaged(shares, heard[:, 0]),
                "product of probabilities": multiplied(shares, heard[:, 0]),
                "best member": shares[liar].argmax(axis=1),
            }
            for way, answers in ways.items():
                right = found.setdefault(way, {}).setdefault(case, np.zeros(len(fold), np.bool_))
                right[fold == number] = answers == here.labels
    return found


def microseconds(views: Views) -> tuple[float, float]:
    """Processor time of one answer of the group on this machine, from bytes to probabilities, without and with memory: medians of the
    examples."""
    group = learn(views, "")
    fusion, evidence = Fusion(group), evidence_of(group, views)
    trust = Trust(fusion)
    wire = [{name: encode(evidence[m, n].tolist(), group.clip) for m, name in enumerate(views.members)} for n in range(200)]
    took: dict[str, list[float]] = {"without": [], "with": []}
    for payloads in wire:
        for name, answers in (("without", fusion.fused), ("with", trust.fused)):
            start = time.process_time_ns()
            answers({name: fusion.read(payload) for name, payload in payloads.items()})
            took[name].append((time.process_time_ns() - start) / 1000)
    return float(np.median(took["without"])), float(np.median(took["with"]))


async def measured(seed: int) -> tuple[Views, Embedded, NDArray[np.float32]]:
    """What the devices answer, what their last hidden layer holds, and what one of them sees."""
    request = CompileRequest("digits", str(DIGITS), "int8")
    release = await compile_release(request, ReleaseCache(default_cache_directory()), print)
    with np.load(DIGITS / "evaluation.npz") as archive:
        pictures, labels = seen(archive["x"], seed), archive["y"]
    views = views_of(edge_answers(release, pictures, "digits", "views"), labels, "views")
    hidden = edge_embeddings(release, pictures, None, "digits", "views")
    return views, embedded_of(hidden.values, views.labels, views.classes, "views"), pictures["door"]


def points(found: Any) -> str:
    return f"{100 * found.value:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    views, hidden, pictures = asyncio.run(measured(options.seed))
    parts = parts_of(views)
    figures, right = validate(views, parts=parts), compared(views)
    ways = compare(parts, hidden, figures.answer_bytes, pictures[0].size)
    group = right["weighted log-odds"]
    console = Console(width=150)

    table = Table(
        "way", "right %", "group above it, points (95 %)", "lost: best lies, second missing", "lost: in the worst way", title=machine()
    )
    for way, cases in right.items():
        lost = [points(difference(cases["nobody"] * 1.0 - cases[case])) if case in cases else "" for case in ("blindly", "worst")]
        above = points(difference(group["nobody"] * 1.0 - cases["nobody"])) if cases is not group else ""
        table.add_row(way, f"{100 * share(cases['nobody']).value:.2f}", above, *lost)
    console.print(table)

    for name in ("gain", "lost_missing", "lost_lying", "lost_lying_and_missing", "lost_worst", "lost_worst_and_missing"):
        console.print(f"{name}, mean over who it is: {points(getattr(figures, name))}")

    table = Table("way", "right %", "lost: one missing", "lost: one sees another picture, the next is missing", "bytes")
    for way in (ways.log_odds, ways.features):
        swapped = points(way.lost_swapped_and_missing)
        table.add_row(way.name, f"{100 * way.right.value:.2f}", points(way.lost_missing), swapped, f"{way.answer_bytes:.2f}")
    console.print(table, f"features above log-odds: {points(ways.above)}; chosen: {ways.chosen} ({ways.reason})")

    some = pictures[:50]
    raw = some[0].nbytes
    as_text = len(json.dumps({"instances": np.round(some, 4).tolist()})) / len(some)
    sent = {
        "the answer": figures.answer_bytes,
        "picture, a byte a pixel": raw / 4,
        "picture, as the model takes it": raw,
        "picture, as a REST request": as_text,
        "features, a byte a number": hidden.values.shape[2],
    }
    table = Table("what is sent", "bytes", "times the answer")
    for what, count in sent.items():
        table.add_row(what, f"{count:.2f}", f"{count / figures.answer_bytes:.1f}")
    console.print(table)

    table = Table("devices", "best of them %", "group %", "gain, points (95 %)", "lost: one lies, one missing (95 %)")
    for count in (2, 3, 4, 5, 6, 8):
        part = Views(views.members[-count:], views.log_probabilities[-count:], views.labels)
        found = figures if count == len(views.members) else validate(part)
        best = max(it.alone.value for it in found.members)
        lost = points(found.lost_lying_and_missing) if found.lost_lying_and_missing else ""
        table.add_row(str(count), f"{100 * best:.2f}", f"{100 * found.group.value:.2f}", points(found.gain), lost)
    console.print(table)
    without, remembering = microseconds(views)
    console.print(f"one answer of the group, from bytes: {without:.0f} microseconds of processor time, with memory {remembering:.0f}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "sent": sent, "gain": figures.gain.value}, indent=1))


if __name__ == "__main__":
    main()
