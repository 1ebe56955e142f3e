"""What became of requests, counted: since the start, and in the last minute; and how long who asked has waited. No request is kept."""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final

from isthmus_agent.formats.policy import DEVICE
from isthmus_agent.formats.routing import BY_PEER, FAILED, FIRST, HERE, OUTCOMES, PASSED_ON, RECENT_SECONDS, Routing, thousandths
from isthmus_agent.protocol import Reply, RestError
from isthmus_agent.server.answers import BY_CLOUD, BY_DEVICE, Answer, Asker, Later
from isthmus_agent.server.answers import BY_PEER as FROM_PEER
from isthmus_agent.server.histogram import Histogram
from isthmus_agent.server.router import Router

_PART_SECONDS: Final = 5.0
_PARTS: Final = round(RECENT_SECONDS / _PART_SECONDS)


@dataclass
class _Part:
    """Of the last minute. until: when the next one begins, by the monotonic clock."""

    until: float
    counts: Counter[str] = field(default_factory=Counter)
    times: Histogram = field(default_factory=Histogram)


class Tally:
    """Counts. now: the monotonic clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._began = now, now()
        self._totals: Counter[str] = Counter()
        self._parts = deque([_Part(self._began + _PART_SECONDS)], maxlen=_PARTS)

    def followed(self, predict: Callable[[], Reply | Answer | Later]) -> Reply | Answer | Later:
        """What `predict` gives, or raises, counted: at once, or when somebody else has answered."""
        began = self._now()
        try:
            found = predict()
        except RestError as error:
            self._count(Answer(error.reply), began)
            raise
        except BaseException:
            self._add(FAILED, began)
            raise
        if not isinstance(found, Later):
            self._count(found if isinstance(found, Answer) else Answer(found), began)
            return found

        def finish(brought: bytes | None) -> Answer:
            answer = found.finish(brought)
            self._count(answer, began, is_first=found.is_first)
            return answer

        return replace(found, finish=finish)

    def routing(self, release: str, router: Router | None, cloud: Asker | None) -> Routing:
        """All that is said. router: None: no policy is followed. cloud: None: nobody is asked."""
        self._turn()
        oldest = self._parts[0].until - _PART_SECONDS
        counts, times = Counter[str](), Histogram()
        for part in self._parts:
            counts.update(part.counts)
            times.put(part.times)
        found = Routing(
            release,
            DEVICE,
            (DEVICE,),
            totals={name: self._totals[name] for name in OUTCOMES},
            recent={name: counts[name] for name in OUTCOMES},
            recent_ms=round(1000 * (self._now() - oldest)),
            p50_microseconds=times.quantile(50),
            p95_microseconds=times.quantile(95),
        )
        if cloud is not None:
            found = replace(
                found, breaker=cloud.breaker(), asked=cloud.counts(), round_trip_microseconds=thousandths(cloud.round_trip_ms())
            )
        if router is not None:
            policy = router.policy
            found = replace(
                found,
                place=router.place,
                places=policy.places,
                levels=router.levels,
                moves=router.moves,
                policy=policy.to_json().decode(),
            )
        return found

    def _count(self, answer: Answer, began: float, *, is_first: bool = False) -> None:
        """What is wrong in itself is nobody's."""
        if answer.reply.status == HTTPStatus.OK:
            self._add(_who(answer, is_first), began)
        elif answer.reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._add(FAILED, began)

    def _add(self, outcome: str, began: float) -> None:
        self._turn()
        self._totals[outcome] += 1
        self._parts[-1].counts[outcome] += 1
        self._parts[-1].times.add(round(1e6 * (self._now() - began)))

    def _turn(self) -> None:
        """Begins the parts that have come since."""
        now = self._now()
        until = max(self._parts[-1].until, now - RECENT_SECONDS)
        while until <= now:
            until += _PART_SECONDS
            self._parts.append(_Part(until))


def _who(answer: Answer, is_first: bool) -> str:
    if answer.headers == BY_DEVICE:
        return HERE
    if answer.headers == BY_CLOUD:
        return FIRST if is_first else PASSED_ON
    return BY_PEER if answer.headers == FROM_PEER else HERE
