"""The training function of a model's folder, and running it: with a deadline, progress and an honest forecast.

    EPOCHS = 40  # of a full training

    def fit(model, epochs, callbacks=()):  # compiles the model and trains it on the folder's own data
        model.compile(…)
        model.fit(…, epochs=epochs, callbacks=list(callbacks))

It gets whatever Keras model a step wants trained. It must be deterministic: seeds are set before each call.
"""

import importlib
import importlib.util
import math
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from isthmus.compile.sources.source import FUNCTION, Source
from isthmus.errors import Problem, SourceError
from isthmus.limits import TRAINING_DEADLINE_SECONDS

Progress = Callable[[str], None]
SEED = 2
EPOCH_SHARES = {"prune": 0.5, "prune-filters": 0.75, "slim": 0.5, "distil": 1.0}
"""Epochs of each step, as a share of a full training's: all but a student of the user's start from trained weights."""
FORECAST_SECONDS, FORECAST_STEPS = 1.0, 5
"""The forecast comes when so much was measured, not counting the first step, in which TensorFlow traces the model."""
HOPELESS = 2
"""A training that is forecast to take that many times what is left of the deadline is ended at once."""
_DEADLINE = "training_deadline_seconds"


def load_training(source: Source, where: str, deadline_seconds: float = TRAINING_DEADLINE_SECONDS.default) -> "Training | None":
    """The training of a source's folder; None where it has none.

    Args:
        deadline_seconds: the longest that all calls of the training function together may take.

    Raises:
        SourceError: the module cannot be imported, or does not say how many EPOCHS a full training has.
    """
    return None if source.training is None else Training(source, where, deadline_seconds)


class Training:
    """epochs: of a full training. seconds: what training took so far; counts against the deadline."""

    def __init__(self, source: Source, where: str, deadline_seconds: float) -> None:
        assert source.training is not None  # noqa: S101  (load_training saw to it)
        self._source, self._deadline_seconds, self._file = source, deadline_seconds, source.training
        self.seconds = 0.0
        self._module: ModuleType | None = None
        with self._as_user(where, "import"):
            self._module = self._import()
        epochs = getattr(self._module, "EPOCHS", None)
        if not callable(getattr(self._module, "fit", None)) or not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
            what = f"{self._shown(self._file)} has EPOCHS = {epochs!r}"
            raise SourceError([Problem(where, what, "a function fit(model, epochs, callbacks), and EPOCHS, a whole number from 1 on")])
        self.epochs = epochs

    def epochs_of(self, step: str) -> int:
        """How many epochs the step of this name trains for."""
        return max(1, round(EPOCH_SHARES[step] * self.epochs))

    def fit(self, model: Any, epochs: int, callbacks: Sequence[Any] = (), *, progress: Progress, text: str, where: str) -> None:
        """Trains the model in place.

        Args:
            text: what is done, for progress and problems: `prune:80%: fine-tune`.

        Raises:
            SourceError: the function raised, did not end in time, did not pass the callbacks on, or its loss is no number.
        """
        left = self._deadline_seconds - self.seconds
        watch = _watch(epochs, progress, text, where, left)
        self._run(model, epochs, [*callbacks, watch], text=text, where=where, left=left)
        if not watch.steps:
            what = f"fit of {self._shown(self._file)} did not train the model with the callbacks that it was given"
            raise SourceError([Problem(where, what, "model.fit(…, epochs=epochs, callbacks=list(callbacks))", "pass them on")])

    def call(self, function: str, where: str) -> Any:
        """What a function of the module without arguments returns. Raises SourceError."""
        import keras

        keras.utils.set_random_seed(SEED)
        with self._as_user(where, function):
            return self._function(function)()

    def _run(self, model: Any, epochs: int, callbacks: Sequence[Any], *, text: str, where: str, left: float) -> None:
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(SEED)
        tf.config.experimental.enable_op_determinism()
        start = time.monotonic()
        try:
            with self._as_user(where, "fit"), _alarm(max(left, 1e-3)):
                self._function("fit")(model, epochs, callbacks)
        except _DeadlineError as error:
            what = f"{text} was not done after {self._deadline_seconds:g} s of training"
            fix = f"raise {_DEADLINE}, or let fit of {self._shown(self._file)} train on less"
            raise SourceError([Problem(where, what, f"training that ends within {_DEADLINE}", fix)]) from error
        finally:
            self.seconds += time.monotonic() - start

    def _function(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(self._module, name)
        return function

    def _import(self) -> ModuleType:
        if self._source.kind == FUNCTION:
            return importlib.import_module(self._source.name.partition(":")[0])
        spec = importlib.util.spec_from_file_location("isthmus_training_module", self._file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{self._file.name} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    @contextmanager
    def _as_user(self, where: str, doing: str) -> Iterator[None]:
        """The user's code: it finds the modules beside it, and what it raises is told with its own line."""
        import tensorflow as tf

        folder = self._file.parent
        path, modules = list(sys.path), set(sys.modules)
        sys.path[:0] = [str(folder), str(self._source.base_directory)]
        if self._module is not None:
            sys.modules[self._module.__name__] = self._module  # TensorFlow's AutoGraph looks there for a function's source
        try:
            yield
        except (SourceError, MemoryError, tf.errors.ResourceExhaustedError):
            raise
        except (Exception, SystemExit) as error:
            raise SourceError([self._blame(error, doing, where)]) from error
        finally:
            sys.path[:] = path
            for name in set(sys.modules) - modules:  # the next model's folder may have modules of the same name
                if self._source.kind != FUNCTION and Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(folder):
                    del sys.modules[name]

    def _blame(self, error: BaseException, doing: str, where: str) -> Problem:
        own = {str(path) for _, path in self._source.training_files} | {str(self._file)}
        line = ""
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename in own or Path(frame.filename).parent == self._file.parent:
                line = f" at {self._shown(Path(frame.filename))}:{frame.lineno}"
        message = (str(error).strip().split("\n") or [""])[0][:300]
        what = f"{doing} of {self._shown(self._file)} raised {type(error).__name__}: {message}{line}"
        return Problem(where, what, "a training function that works on any Keras model with the same inputs and outputs")

    def _shown(self, file: Path) -> str:
        base = self._source.base_directory
        return file.relative_to(base).as_posix() if file.is_relative_to(base) else str(file)


def no_training(step: str, where: str) -> SourceError:
    """For a step that trains, of a model without a training function."""
    expected = "a function fit(model, epochs, callbacks) and EPOCHS in model.py beside the model, or in the module of a module:function"
    return SourceError(
        [Problem(where, f"{step} trains the model, and it has no training function", expected, "add it, or leave the step out")]
    )


class _DeadlineError(BaseException):
    """No Exception: the user's `except Exception` must not stop it."""


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raises _DeadlineError in the code inside once the time is over, whatever it does, and again each second after.

    Works in the main thread, where signals arrive; elsewhere the deadline is only seen between steps (`_watch`).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    rung = False

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal rung
        rung = True
        raise _DeadlineError

    start = time.monotonic()
    own = signal.signal(signal.SIGALRM, ring)
    rest, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    except BaseException as error:
        if rung:  # a generator or a callback of TensorFlow wraps it into an error of its own
            raise _DeadlineError from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, own)
        if rest:
            signal.setitimer(signal.ITIMER_REAL, max(1e-3, rest - (time.monotonic() - start)), interval)


def _watch(epochs: int, progress: Progress, text: str, where: str, deadline_seconds: float) -> Any:
    """The callback that measures: steps (done so far) and epoch_seconds (of one epoch, forecast from the last steps)."""
    import keras

    class Watch(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.steps, self.epoch, self.epoch_seconds = 0, 0, math.nan
            self._start = self._traced = time.monotonic()
            self._told = False

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps += 1
            now = time.monotonic()
            if now - self._start > deadline_seconds:
                raise _DeadlineError
            if self.steps == 1:
                self._traced = now
            total = self.params.get("steps")
            measured = now - self._traced
            if not self._told and total and self.steps > FORECAST_STEPS and (measured >= FORECAST_SECONDS or self.steps >= total):
                self._forecast(measured / (self.steps - 1) * total, now)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            now = time.monotonic()
            loss = (logs or {}).get("loss")
            if loss is not None and not math.isfinite(float(loss)):
                what = f"{text}: the loss is {float(loss)} after epoch {epoch + 1}"
                raise SourceError([Problem(where, what, "a finite loss", "lower the learning rate in fit, or clip its gradients")])
            if not self._told:
                self._forecast(now - self._start, now)
            else:
                self.epoch_seconds = (now - self._traced) / (epoch + 1)
            left = (epochs - epoch - 1) * self.epoch_seconds
            progress(f"{text}: epoch {epoch + 1} of {epochs}" + (f", about {left:.0f} s left" if left else ""))

        def _forecast(self, epoch_seconds: float, now: float) -> None:
            self._told, self.epoch_seconds = True, epoch_seconds
            whole = now - self._start + (epochs - self.epoch) * epoch_seconds
            progress(f"{text}: {epochs} epochs, about {whole:.0f} s")
            if whole > HOPELESS * deadline_seconds:
                what = f"{text} would take about {whole:.0f} s for {epochs} epochs, and {deadline_seconds:.0f} s are left"
                fix = f"raise {_DEADLINE}, or let fit train on less"
                raise SourceError([Problem(where, what, f"training that ends within {_DEADLINE}", fix)])

    return Watch()
