"""The four jobs that a compile consists of. Each runs in a worker, on its own or beside others; what one finds the next
reads from the work folder (see `workplace`).

A job is a JSON object, and so is its result:

    kind       job                                            result
    prepare    COMMON                                         {"recipes": [text, …], "examples": n, "metric": name, "digest": hex}
    candidate  COMMON + {"index": i}                          {"problem": text, "digest": hex}
    time       COMMON + {"variants": [name, …]}               {name: {…}, …}
    finish     COMMON + {"times": {name: {…}}, "lost": {…}}   {"recipe": text, "reason": text}

    COMMON     {"request": {…}, "source": {…}, "work": path}: asdict() of CompileRequest and of Source, paths as texts
    recipes    what candidates are made of; none where the recipe is serving-only, whose release has no file for devices
    index      of prepare's recipes; jobs of different indices may run side by side
    problem    empty where the candidate is sound
    digest     of the serving variant, of the candidate's file (see `isthmus.compile.times`); empty where there is none
    times      of one request, each a `Timing`, by the variant's name: "serving", or a candidate's index. finish needs those of all
               that are sound; who knows one already leaves it out of what `time` measures
    lost       optional: why a candidate's job came to no end (a worker that was killed), by index

prepare comes first, then every candidate, then time (with nothing else on the machine: it measures latency), then finish; the
release lies in WORK/release after it. Progress is a line for the user, such as "int8: run on 450 held-out examples".

Where the recipe is `auto`, a candidate that cannot be made is a result with its problem, and the others go on; where there is one
recipe alone, it raises. Errors: SourceError (source, recipe or data are at fault), GateError (finish: no candidate keeps
min_accuracy), OSError (the disk is full, say).
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from isthmus.compile.build.assemble import assemble
from isthmus.compile.build.edge import compress, float_model
from isthmus.compile.build.evaluation import Arrays, Evaluation, load_evaluation, load_inputs
from isthmus.compile.build.export import SIGNATURE, copy_saved_model, export_keras
from isthmus.compile.build.golden import choose_golden, examples_of, golden_json, largest_difference, mean_difference
from isthmus.compile.build.prove import check_answers, prove
from isthmus.compile.build.running import EdgeRunner, ServingRunner
from isthmus.compile.build.timing import MAX_REQUESTS, time_edge, time_serving
from isthmus.compile.build.workplace import Prepared, Proof, Workplace
from isthmus.compile.recipes import SERVERS_ALONE, Recipe, candidates
from isthmus.compile.request import CompileRequest, nothing_to_serve
from isthmus.compile.shrink import load_training, shrink
from isthmus.compile.sources.load import SourceModel, describe_keras, load_keras, load_saved_model
from isthmus.compile.sources.source import FUNCTION, KERAS, SAVED_MODEL, TFLITE, Source
from isthmus.compile.sources.tflite import load_tflite, ready_model
from isthmus.compile.times import digest_of
from isthmus.errors import SourceError
from isthmus.release.manifest import SERVING, Candidate, Timing

Progress = Callable[[str], None]
Job = Callable[[dict[str, Any], Progress], dict[str, Any]]


class _Compile:
    """What every job begins with. where: property path of the model, for problems."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        paths = {name: Path(job["request"][name]) for name in ("base_directory", "evaluation") if job["request"][name] is not None}
        self.request = CompileRequest(**{**job["request"], **paths})
        self.source = Source.from_json(job["source"])
        self.work = Workplace(Path(job["work"]))
        self.where = f"{self.request.model}.model"
        self.serving = self.work.serving / str(self.request.version)

    def evaluation(self, model: SourceModel | Prepared) -> Evaluation:
        return load_evaluation(self.source.evaluation, model.inputs, model.outputs, self.where)

    def calibration(self, prepared: Prepared) -> dict[str, NDArray[Any]] | None:
        file = self.source.calibration
        return None if file is None else load_inputs(file, prepared.inputs, self.where)

    @property
    def way_out(self) -> str:
        """What is left to do with a model that the edge interpreter refuses."""
        return "use another recipe" + ("" if self.source.kind == TFLITE else f", or {SERVERS_ALONE}")


def prepare(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Loads the source, exports the serving variant, and finds out what the source answers."""
    task = _Compile(job)
    source, work, where = task.source, task.work, task.where
    recipe = Recipe.of(task.request.recipe)
    if recipe.is_serving_only and source.kind == TFLITE:
        raise SourceError([nothing_to_serve(repr(source.name), f"{task.request.model}.recipe")])
    progress(f"load {source.name}")
    model = _load_and_export(task, progress)
    evaluation = task.evaluation(model)
    recipes = candidates(
        recipe,
        is_keras=source.kind in (KERAS, FUNCTION),
        has_training=source.training is not None,
        has_calibration=source.calibration is not None,
    )
    if source.kind != TFLITE and any(not recipe.structure for recipe in recipes):
        progress("convert for devices (TFLite)")
        work.float_model.write_bytes(float_model(task.serving, where))

    progress(f"run the source on {evaluation.examples or 'made-up'} held-out examples")
    answers = evaluation.answers(model.run, where)
    golden = choose_golden(evaluation, answers)
    work.golden.write_text(golden_json(SIGNATURE, golden), encoding="utf-8")
    work.save_answers(answers)
    served = None
    if task.serving.exists():
        progress("run the serving variant on them")
        served = evaluation.answers(ServingRunner(task.serving).run, where)
        check_answers(answers, served, where)
        work.save_served(served)
    work.save_prepared(
        Prepared(
            model.inputs,
            model.outputs,
            evaluation.examples,
            evaluation.metric,
            evaluation.score(answers),
            evaluation.confusion(answers),
            None if served is None else evaluation.score(served),
            None if served is None else largest_difference(golden.answers, examples_of(served, golden.rows)),
            golden.decimals,
            tuple(recipe.text for recipe in recipes),
            None if served is None or recipes else _served_alone(task, recipe, evaluation, answers, served),
        )
    )
    return {
        "recipes": [recipe.text for recipe in recipes],
        "examples": evaluation.examples,
        "metric": evaluation.metric,
        "digest": digest_of(task.serving) if task.serving.exists() else "",
    }


def _served_alone(task: _Compile, recipe: Recipe, evaluation: Evaluation, answers: Arrays, served: Arrays) -> Candidate:
    """The figures of a serving variant that no edge variant stands beside, without times."""
    return Candidate(
        recipe.text,
        size_bytes=sum(path.stat().st_size for path in task.serving.rglob("*") if path.is_file()),
        accuracy=evaluation.score(served),
        max_difference=largest_difference(answers, served),
        mean_difference=mean_difference(answers, served),
        confusion=evaluation.confusion(served),
    )


def _load_and_export(task: _Compile, progress: Progress) -> SourceModel:
    """Writes the serving variant; of a file for devices, which has none, that file."""
    source, where = task.source, task.where
    if source.kind == TFLITE:
        task.work.float_model.write_bytes(ready_model(source, where))
        return load_tflite(source, where)
    if source.kind == SAVED_MODEL:
        model = load_saved_model(source, where)
        copy_saved_model(source, task.serving)
        return model
    keras_model = load_keras(source, where)
    progress("export the serving variant (SavedModel)")
    export_keras(keras_model, task.serving, where)
    return keras_model.described


def candidate(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Makes the edge file of one recipe, and proves it."""
    task, index = _Compile(job), int(job["index"])
    prepared = task.work.prepared()
    recipe = Recipe.of(prepared.recipes[index])

    def say(text: str) -> None:
        progress(f"{recipe.text}: {text}")

    try:
        proof = _proved(task, prepared, recipe, index, say)
    except SourceError as error:
        if not Recipe.of(task.request.recipe).is_auto:
            raise
        proof = Proof(Candidate(recipe.text, problem="; ".join(problem.what for problem in error.problems)), 0.0)
    task.work.save_proof(index, proof)
    problem = proof.candidate.problem
    return {"problem": problem, "digest": "" if problem else digest_of(task.work.edge(index))}


def _proved(task: _Compile, prepared: Prepared, recipe: Recipe, index: int, say: Progress) -> Proof:
    file = task.work.edge(index)
    file.parent.mkdir(parents=True, exist_ok=True)
    saved_model, seconds = file.with_name("saved_model"), 0.0
    if recipe.structure:
        seconds = _restructure(task, recipe, saved_model, say)
        plain = float_model(saved_model, task.where)
        shutil.rmtree(saved_model)
    else:
        plain = task.work.float_model.read_bytes()
    say(f"write the weights as {recipe.storage}")
    calibration = task.calibration(prepared) if recipe.needs_calibration else None
    made = compress(plain, recipe.storage, calibration, task.where)
    file.write_bytes(made.data)
    evaluation, answers = task.evaluation(prepared), task.work.answers()
    proof = prove(
        file,
        recipe.storage,
        inputs=prepared.inputs,
        outputs=prepared.outputs,
        evaluation=evaluation,
        answers=answers,
        served=task.work.served(),
        where=task.where,
        way_out=task.way_out,
        progress=say,
    )
    found = replace(proof.candidate, recipe=recipe.text, layers=made.layers, training_seconds=round(seconds, 3))
    return replace(proof, candidate=found)


def _restructure(task: _Compile, recipe: Recipe, folder: Path, say: Progress) -> float:
    """Writes the network after the recipe's structure steps as a SavedModel. Returns the seconds of training."""
    model = load_keras(task.source, task.where).model
    training = load_training(task.source, task.where, task.request.training_deadline_seconds) if recipe.needs_training else None
    for step in recipe.structure:
        model = shrink(model, step, training, say, task.where)
    export_keras(describe_keras(model, task.source.name, task.where), folder, task.where)
    return training.seconds if training else 0.0


def time(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Measures how long one request to each of the variants takes."""
    task = _Compile(job)
    prepared = task.work.prepared()
    examples = list(islice(task.evaluation(prepared).singles(), MAX_REQUESTS))
    times = {}
    for name in job["variants"]:
        if name == SERVING:
            progress("measure the time of one request to the serving variant")
            times[name] = time_serving(task.work.serving, task.request.model, examples)
            continue
        progress(f"{prepared.recipes[int(name)]}: measure the time of one request")
        runner = EdgeRunner(task.work.edge(int(name)), prepared.inputs, prepared.outputs, task.where, task.way_out)
        times[name] = time_edge(runner, examples)
    return {name: asdict(timing) for name, timing in times.items()}


def finish(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Chooses a candidate and writes the release."""
    task = _Compile(job)
    progress("choose, and write the release")
    lost = {int(index): text for index, text in job.get("lost", {}).items()}
    choice = assemble(task.request, task.work, lost, {name: Timing(**timing) for name, timing in job["times"].items()})
    return {"recipe": (task.work.prepared().recipes or [task.request.recipe])[choice.index], "reason": choice.reason}


JOBS: dict[str, Job] = {"prepare": prepare, "candidate": candidate, "time": time, "finish": finish}
