"""The jobs that measure a variant's cuts, and put halves into a release. Each runs in a worker.

    kind    job      result
    cut     COMMON   `Measured` without times
    time    COMMON + {"measured": the former's result}   the same with times; alone on the machine

    build    see `building`

    COMMON  {"file": path, "evaluation": path or null, "inputs": […], "outputs": […], "where": text}

Errors: SourceError (no place can be cut, the file is damaged, data that does not fit), OSError.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from statistics import median
from time import perf_counter
from typing import Any

from isthmus.compile.build.evaluation import Arrays
from isthmus.compile.build.timing import MAX_REQUESTS, time_edge
from isthmus.compile.halves.building import build
from isthmus.compile.halves.measured import Form, Measured, MeasuredCut
from isthmus.compile.halves.task import Task
from isthmus.compile.halves.trying import Halved, try_cut
from isthmus.errors import Problem, SourceError
from isthmus.partition.cuts import find_cuts, inputs_of
from isthmus.tflite.verify import DamagedFileError
from isthmus_agent.features import WireFormat

Progress = Callable[[str], None]
# Runs of which a coder's time is the median: it is a small part of any way, and steady.
CODED_EXAMPLES = 30


def cut(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Splits the variant at every place that allows it, and runs both halves on the evaluation set with every form of what is sent."""
    task = Task(job)
    data = task.file.read_bytes()
    try:
        found = find_cuts(data)
        inputs_of(data)  # which all are sent where the cloud runs everything
    except DamagedFileError as error:
        raise SourceError([Problem(task.where, f"the .tflite file cannot be read: {error}", "a whole flatbuffer")]) from error
    except ValueError as error:
        raise SourceError([Problem(task.where, str(error), "inputs of numbers")]) from error
    if not found.cuts:
        raise SourceError([_no_layer_allows(task.where, found.layers, dict(found.refused))])
    progress(f"run the whole on {task.evaluation.examples or 'made-up'} held-out examples")
    answers = task.evaluation.answers(task.whole().run, task.where)
    cuts, refused = [], dict(found.refused)
    for place in (None, *found.cuts):
        layers = place.layers if place else 0
        progress(f"cut {layers} of {found.layers}: {f'behind {place.layer}' if place else 'before the first layer'}")
        halved = task.halved(data, place)
        tried = try_cut(halved, task.evaluation, answers, task.where)
        if isinstance(tried, str):
            refused[tried] = refused.get(tried, 0) + 1
            continue
        name, tensor = (place.layer, place.tensor) if place else ("inputs", ", ".join(spec.name for spec in task.inputs))
        cuts.append(MeasuredCut(layers, name, tensor, tried, halved.head_bytes, halved.tail_bytes))
    if len(cuts) < 2 or cuts[0].layers:
        raise SourceError([_no_layer_allows(task.where, found.layers, refused)])
    evaluation = task.evaluation
    score = evaluation.score(answers)
    return Measured(tuple(cuts), 0.0, found.layers, evaluation.examples, score, evaluation.metric, refused).to_json()


def _no_layer_allows(where: str, layers: int, refused: dict[str, int]) -> Problem:
    reasons = "; ".join(f"{reason} ({count} of {layers - 1} places)" for reason, count in sorted(refused.items(), key=lambda it: -it[1]))
    what = f"a cut that no layer allows: {reasons or f'it has {layers} layer' + ('s' if layers != 1 else '')}"
    return Problem(where, what, "a place that few tensors cross, with all state before it", "run it whole, on devices or in the cloud")


def time(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Measures both halves of every cut, and what it takes to write and read each form."""
    task, measured = Task(job), Measured.from_json(job["measured"])
    examples = list(islice(task.evaluation.singles(), MAX_REQUESTS))
    data = task.file.read_bytes()
    places = {place.layers: place for place in find_cuts(data).cuts}
    progress("measure the time of the whole")
    whole_ms = time_edge(task.whole(), examples).p50_ms
    cuts = []
    for it in measured.cuts:
        progress(f"measure the halves of cut {it.layers} of {measured.layers}")
        cuts.append(_timed(it, task.halved(data, places.get(it.layers)), examples, whole_ms))
    return replace(measured, cuts=tuple(cuts), whole_ms=whole_ms).to_json()


def _timed(it: MeasuredCut, halved: Halved, examples: Sequence[Arrays], whole_ms: float) -> MeasuredCut:
    features = [halved.features(inputs) for inputs in examples]
    head = halved.head_runner
    forms = tuple(_coded(form, form.wire, features[:CODED_EXAMPLES]) for form in it.forms)
    if head is None:  # the tail is the whole, measured once: two figures for one thing would make a cut of their noise
        return replace(it, forms=forms, tail_ms=whole_ms)
    head_ms = time_edge(head, [halved.head_inputs_of(inputs) for inputs in examples]).p50_ms
    return replace(it, forms=forms, head_ms=head_ms, tail_ms=time_edge(halved.tail_runner, features).p50_ms)


def _coded(form: Form, wire: WireFormat, features: list[dict[str, Any]]) -> Form:
    encode_ms, decode_ms = [], []
    for one in features:
        start = perf_counter()
        data = wire.encode(one)
        between = perf_counter()
        wire.decode(data)
        encode_ms.append((between - start) * 1000)
        decode_ms.append((perf_counter() - between) * 1000)
    return replace(form, encode_ms=round(median(encode_ms), 4), decode_ms=round(median(decode_ms), 4))


JOBS = {"cut": cut, "time": time, "build": build}
