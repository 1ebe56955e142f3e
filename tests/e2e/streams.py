"""Streams of requests, and who answered each with which version, in a world where a model's largest output is its version."""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import requests

PAUSE_SECONDS = 0.02
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """version: None: there was no answer, and why is in `said`. by: device or cloud, as a device says; empty: the gateway's."""

    began: float
    ended: float
    version: int | None
    by: str
    said: str = ""


@dataclass
class Stream:
    """One client, which asks again as soon as it has an answer, until it is stopped."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Stream":
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._stop.wait(PAUSE_SECONDS):
                began, version, by, said = time.monotonic(), None, "", ""
                try:
                    reply = session.post(self.url, json={"instances": [[0.0] * 4]}, timeout=TIMEOUT_SECONDS)
                    by = reply.headers.get("X-Isthmus-Answered-By", "")
                    row = reply.json()["predictions"][0]
                    version = row.index(max(row))
                except (requests.RequestException, ValueError, LookupError) as error:
                    said = f"{type(error).__name__}: {error}"[:300]
                self.answers.append(Answer(began, time.monotonic(), version, by, said))

    def since(self, moment: float) -> list[Answer]:
        """Answers to what was asked from then on."""
        return [it for it in list(self.answers) if it.began >= moment]

    def lost(self) -> list[Answer]:
        """What was asked and not answered."""
        return [it for it in self.answers if it.version is None]

    def until(self, enough: Callable[[list[Answer]], bool], moment: float, deadline: Callable[[], bool]) -> list[Answer]:
        """Waits until there are enough answers since a moment, or the deadline is over."""
        while not enough(found := self.since(moment)) and not deadline():
            threading.Event().wait(PAUSE_SECONDS)
        return found


def versions(answers: Collection[Answer]) -> set[int | None]:
    return {it.version for it in answers}
