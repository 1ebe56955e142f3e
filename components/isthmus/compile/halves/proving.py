"""Whether a tail answers in TensorFlow as it does on a device, and in what time. Runs in a worker."""

from itertools import islice
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np

from isthmus.compile.build.golden import largest_difference
from isthmus.compile.halves.choosing import Tail
from isthmus.compile.halves.measured import Measured
from isthmus.compile.halves.task import Task
from isthmus.compile.halves.translating import FEATURES, Tails

_TIMED_EXAMPLES: Final = 30
_SAME: Final = 1e-3
"""How far an answer in a batch may be from the same alone: sums of another order differ in their last bits."""
_LAST_BIT: Final = 1e-12
"""Of a difference of shares."""


class Proof:
    """Runs tails in a session, as servers do. max_loss: of accuracy, a share, that a way may cost. tolerance: what an answer may differ by
    from the whole's where there is no evaluation data."""

    def __init__(self, tf: Any, tails: Tails, task: Task, measured: Measured, *, max_loss: float, tolerance: float) -> None:
        self._tails, self._task, self._measured, self._max_loss, self._tolerance = tails, task, measured, max_loss, tolerance
        self._session = tf.compat.v1.Session(graph=tails.graph)
        self._data = task.file.read_bytes()
        self._answers = task.evaluation.answers(task.whole().run, task.where)

    def cloud_ms(self, tail: Tail) -> float | None:
        """The median of one run with one example; None where it answers otherwise than it should."""
        task, halved, wire = self._task, self._task.halved(self._data, tail.place), tail.form.wire
        sent = [wire.encode(halved.features(inputs)) for inputs in task.evaluation.singles()]
        found = [self._run(tail, [it]) for it in sent]
        joined = {name: np.concatenate([one[name] for one in found]) for name in self._answers}
        together, alone = self._run(tail, sent[:2]), {name: values[:2] for name, values in joined.items()}
        if not all(_are_same(together[name], values) for name, values in alone.items()):
            return None
        score, right = task.evaluation.score(joined), self._measured.accuracy
        if score is None or right is None:
            return None if largest_difference(self._answers, joined) > self._tolerance else self._timed(tail, sent)
        return None if score < right - self._max_loss - _LAST_BIT else self._timed(tail, sent)

    def _run(self, tail: Tail, sent: list[bytes]) -> dict[str, Any]:
        signature = self._tails.signatures[tail.name]
        fetched = {name: info.name for name, info in signature.outputs.items()}
        found: dict[str, Any] = self._session.run(fetched, {signature.inputs[FEATURES].name: sent})
        return found

    def _timed(self, tail: Tail, sent: list[bytes]) -> float:
        times = []
        for it in islice(sent, _TIMED_EXAMPLES):
            began = perf_counter()
            self._run(tail, [it])
            times.append(1000 * (perf_counter() - began))
        return median(times)


def _are_same(found: Any, wanted: Any) -> bool:
    return found.shape == wanted.shape and np.allclose(found, wanted, _SAME, _SAME)
