"""A batch job while it runs: threads that keep every server busy, and one split by formula 2 that says who does which rows.

A job begins by measuring: each server takes the next rows as it gets free, with chunks that grow until one takes about half a
second. As soon as every server's rate is known, the rest is split in proportion; what a lost server leaves is split again. Where rates
change later, a server that is done while others have work waiting gets some of it: a correction, by the same formula.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from isthmus.cli.commands.batch.files import Answers, Examples
from isthmus.cli.commands.predict.asking import refusal
from isthmus.errors import PlatformError
from isthmus.observing.reach import Server
from isthmus.sizing.formulas.allocation import DivisionPlan
from isthmus.sizing.formulas.splitting import Split
from isthmus_agent.core.splitting import Rows, count, missing

# A chunk is what is done again when a server is lost; shorter ones cost more calls.
_CHUNK_SECONDS = 0.5
_GROWTH = 4
# As JSON some 40 MB, which servers and gateways take.
_MOST_NUMBERS = 2_000_000
_MOST_ROWS = 65_536
_MEASURED_CHUNKS = 4
_RECENT_CHUNKS = 16
# Of waiting work at one server, for another that has none: less is not worth a correction.
_WORTH_SECONDS = 1.0
# A server that restarts needs longer, and its rows are better done by the others.
_RETRY_PAUSES_SECONDS = (0.1, 0.4, 1.0)
# A server that let a request wait for so long is not asked again.
_PATIENCE_SECONDS = 10.0
_SAVE_SECONDS = 5.0
_LOOK_SECONDS = 0.2
_LAST_ANSWERS_SECONDS = 5.0


@dataclass
class Work:
    """One server's part. planned_rows, planned_seconds: by the latest split that is no correction, from the job's begin; None before one.

    lost: why it was given up; empty: it was not.
    """

    server: Server
    rate_per_second: float | None = None
    planned_rows: int | None = None
    planned_seconds: float | None = None
    rows: int = 0
    seconds: float = 0.0
    lost: str = ""


@dataclass(frozen=True)
class Planned:
    """One split. at_seconds: from the job's begin, as all times. why: in words. rates: rows per second, by server.

    is_correction: rates changed after the split before it.
    """

    at_seconds: float
    why: str
    rates: Mapping[str, float]
    plan: DivisionPlan
    is_correction: bool = False

    @property
    def makespan_seconds(self) -> float:
        return self.at_seconds + self.plan.makespan_seconds


@dataclass(frozen=True)
class Done:
    """What came of a job. rows: that were done now. plans: none where the job was done before the rates were known."""

    rows: int
    seconds: float
    works: tuple[Work, ...]
    plans: tuple[Planned, ...]


@dataclass
class Meter:
    """How fast one server is, and how many rows its next chunk has.

    Its lanes are busy all the time, so that its rate is theirs by Little's law: lanes over the mean time of a row in a request.
    """

    most_rows: int
    lanes: int = 1
    next_rows: int = 1
    _is_warm: bool = False
    _rows: int = 0
    _chunks: int = 0
    _seconds: float = 0.0
    _recent: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_RECENT_CHUNKS))

    def note(self, rows: int, seconds: float) -> None:
        """A chunk that was answered after so long. Those up to the first one of full size do not count: they only warm up."""
        seconds = max(seconds, 1e-6)
        if self._is_warm:
            self._rows, self._chunks, self._seconds = self._rows + rows, self._chunks + 1, self._seconds + seconds
            self._recent.append((rows, seconds))
        self._is_warm |= seconds >= _CHUNK_SECONDS / 2 or rows >= self.most_rows
        self.next_rows = max(1, min(round(rows * _CHUNK_SECONDS / seconds), rows * _GROWTH, self.most_rows))

    def rate_per_second(self, window_seconds: float) -> float | None:
        """Of all chunks that count. None before enough of them and so many seconds."""
        is_enough = self._chunks >= _MEASURED_CHUNKS and self._seconds >= window_seconds * self.lanes
        return self.lanes * self._rows / self._seconds if is_enough else None

    def recent_rate_per_second(self) -> float | None:
        """Of the latest chunks."""
        if self._chunks < _MEASURED_CHUNKS:
            return None
        return self.lanes * sum(rows for rows, _ in self._recent) / sum(seconds for _, seconds in self._recent)


class _LostError(Exception):
    """The server does not answer any more."""


class Job:
    """One job. Made, run once, and looked at from another thread meanwhile."""

    def __init__(
        self,
        model_path: str,
        servers: Sequence[Server],
        examples: Examples,
        answers: Answers,
        *,
        rates: Mapping[str, float] | None = None,
        measure_seconds: float = 2.0,
        chunk_rows: int | None = None,
        corrects: bool = True,
    ) -> None:
        """model_path: v1/models/NAME. rates: rows per second by server, to split by at once; None: they are measured, for
        measure_seconds after chunks have grown to their size. chunk_rows: the most in one request. corrects: whether a server that
        is done early gets work of the others."""
        self._path, self._examples, self._answers = f"{model_path}:predict", examples, answers
        self._rates, self._window, self._corrects = rates, measure_seconds, corrects
        self.works = {server.name: Work(server) for server in servers}
        todo = missing(answers.done, examples.rows)
        self.rows = count(todo)
        self._split = Split(todo, self.works)
        fitting = max(1, min(_MOST_ROWS, _MOST_NUMBERS // max(1, examples.numbers_per_row)))
        self._meters = {name: Meter(min(chunk_rows or fitting, fitting), work.server.lanes) for name, work in self.works.items()}
        self.plans: list[Planned] = []
        self._changed, self._stop = threading.Condition(), threading.Event()
        self._failure: BaseException | None = None
        self._begin = 0.0

    def run(self, on_look: Callable[[], None] = lambda: None) -> Done:
        """Until all rows are done. What is done is saved now and then, and also when this ends with an error.

        Args:
            on_look: called a few times a second.

        Raises:
            PlatformError: all servers are lost, or one gave an answer that cannot be right. ResourceFullError: no room.
        """
        self._begin = time.monotonic()
        threads = [threading.Thread(target=self._lane, args=(name,), daemon=True) for name in self._lanes()]
        with self._changed:
            if self._rates is not None:
                self._share("declared capacities", self._rates)
        for thread in threads:
            thread.start()
        try:
            self._watch(on_look)
        finally:
            self._stop.set()
            with self._changed:
                self._changed.notify_all()
            end = time.monotonic() + _LAST_ANSWERS_SECONDS
            for thread in threads:
                thread.join(max(0.0, end - time.monotonic()))
            with self._changed:
                self._answers.save()
        if self._failure is not None:
            raise self._failure
        works = tuple(self.works.values())
        return Done(self.rows, max(work.seconds for work in works), works, tuple(self.plans))

    def _lanes(self) -> Iterator[str]:
        """The first lane of every server before any second one."""
        for lane in range(max(work.server.lanes for work in self.works.values())):
            yield from (name for name, work in self.works.items() if lane < work.server.lanes)

    def _watch(self, on_look: Callable[[], None]) -> None:
        saved = self._begin
        with self._changed:
            while not self._is_over():
                self._changed.wait(_LOOK_SECONDS)
                on_look()
                if time.monotonic() - saved > _SAVE_SECONDS:
                    self._answers.save()
                    saved = time.monotonic()
        on_look()

    def _is_over(self) -> bool:
        return self._failure is not None or self._split.is_done or self._stop.is_set()

    def _lane(self, name: str) -> None:
        """One request after the other to one server."""
        try:
            while (rows := self._next(name)) is not None:
                started = time.monotonic()
                try:
                    answer = self._ask(self.works[name].server, rows)
                except _LostError as error:
                    self._lose(name, rows, str(error))
                else:
                    self._answers.write(rows, answer)
                    self._note(name, rows, started)
        except BaseException as error:  # whatever it is, the main thread raises it
            with self._changed:
                self._failure = self._failure or error
                self._changed.notify_all()

    def _next(self, name: str) -> Rows | None:
        with self._changed:
            while not self._is_over() and name in self._split.servers:
                if rows := self._split.take(name, self._meters[name].next_rows):
                    return rows
                if not self._correct(name):
                    self._changed.wait()
        return None

    def _correct(self, name: str) -> bool:
        """Whether the server, which has nothing to do, got some of the others' work."""
        if not (self._corrects and self.plans and self._split.servers != (name,)):
            return False
        rates = self._recent_rates()
        if not rates or max(self._split.waiting(other) / rates[other] for other in self._split.servers) < _WORTH_SECONDS:
            return False
        self._split.recall()
        self._share(f"{name} was done early", rates, is_correction=True)
        self._changed.notify_all()
        return self._split.waiting(name) > 0

    def _ask(self, server: Server, rows: Rows) -> Mapping[str, object]:
        body, begin = {"inputs": self._examples.piece(rows)}, time.monotonic()
        for pause in (*_RETRY_PAUSES_SECONDS, None):
            try:
                reply = server.way.call(self._path, body)
            except PlatformError as error:
                problem = str(error)
            else:
                if reply.status == 200:
                    try:
                        return dict(reply.json())
                    except (ValueError, TypeError):
                        raise PlatformError(f"{server.name} answers, but not as a model server does") from None
                problem = refusal(reply)
                if reply.status < 500 and reply.status not in (408, 429):
                    raise PlatformError(f"{server.name} refuses rows {rows[0]} to {rows[1] - 1}: {problem}")
            if pause is None or time.monotonic() - begin > _PATIENCE_SECONDS or self._stop.wait(pause):
                break
        raise _LostError(problem)

    def _note(self, name: str, rows: Rows, started: float) -> None:
        now = time.monotonic()
        with self._changed:
            self._split.done(name, rows)
            self._answers.done.append(rows)
            self._meters[name].note(rows[1] - rows[0], now - started)
            work = self.works[name]
            work.rows, work.seconds = work.rows + rows[1] - rows[0], now - self._begin
            self._share_if_measured()
            self._changed.notify_all()

    def _lose(self, name: str, rows: Rows, why: str) -> None:
        with self._changed:
            self._split.lose(name, rows)
            work = self.works[name]
            work.lost = work.lost or why
            if not self._split.servers:
                reasons = "\n".join(f"{it.server.name}: {it.lost}" for it in self.works.values())
                self._failure = self._failure or PlatformError(f"all servers are lost:\n{reasons}")
            elif self.plans:
                last = self.plans[-1].rates
                self._share(f"{name} was lost", self._recent_rates() or {other: last[other] for other in self._split.servers})
            else:
                self._share_if_measured()
            self._changed.notify_all()

    def _share_if_measured(self) -> None:
        if not self.plans and self._split.free and self._split.servers:
            names = self._split.servers
            rates = {name: rate for name in names if (rate := self._meters[name].rate_per_second(self._window))}
            if len(rates) == len(names):
                self._share("measured capacities", rates)

    def _recent_rates(self) -> dict[str, float]:
        """By the latest chunks; empty where not every server has had enough: a rate of another kind says nothing beside these."""
        names = self._split.servers
        measured = {name: rate for name in names if (rate := self._meters[name].recent_rate_per_second())}
        return measured if len(measured) == len(names) else {}

    def _share(self, why: str, rates: Mapping[str, float], *, is_correction: bool = False) -> None:
        plan, at = self._split.share(rates), time.monotonic() - self._begin
        self.plans.append(Planned(at, why, rates, plan, is_correction))
        if is_correction:
            return
        for name, rate, part, already in zip(self._split.servers, plan.capacities_per_second, plan.parts, plan.already, strict=True):
            work = self.works[name]
            work.rate_per_second, work.planned_rows = rate, work.rows + int(part + already)
            work.planned_seconds = at + (part + already) / rate
