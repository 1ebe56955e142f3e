"""A fleet after an outage, in a process of its own: `python storm_devices.py URL DEVICES PER_SECOND SECONDS SEED`. Prints what came of it.

Each device has the breaker and the reading of `Retry-After` of the real agent, and its timeout; the outage has opened all breakers at one
moment, which is when this starts. Each is asked at random times, and is unsure each time: the night that all of them see.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter

import aiohttp

from isthmus_agent.channel import Fallback
from isthmus_agent.formats.answers import ASKED_BY, DEVICE
from isthmus_agent.server.breaker import MOST_FAILURES, Breaker, May
from isthmus_agent.server.full import RETRY_AFTER, full_seconds

HEADERS = {ASKED_BY: DEVICE, "Content-Type": "application/json"}


class Fleet:
    """url: of the predict call. per_second: that each device is asked. work_ms: mean, exponential."""

    def __init__(self, url: str, per_second: float, work_ms: float, seed: int) -> None:
        self._url, self._per_second, self._work_ms = url, per_second, work_ms
        self._random = random.Random(seed)  # noqa: S311
        self._timeout = aiohttp.ClientTimeout(total=Fallback.timeout_seconds)
        self.came: Counter[str] = Counter()

    async def live(self, devices: int, seconds: float) -> None:
        """All devices for so long."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=self._timeout) as session:
            end = time.monotonic() + seconds
            await asyncio.gather(*(self._device(session, end) for _ in range(devices)))

    async def _device(self, session: aiohttp.ClientSession, end: float) -> None:
        breaker = Breaker(self._random.random)
        for _ in range(MOST_FAILURES):
            breaker.failed(time.monotonic(), was_try=False)
        while (pause := self._random.expovariate(self._per_second)) < end - time.monotonic():
            await asyncio.sleep(pause)
            may = breaker.may(time.monotonic())
            self.came["asked"] += 1
            if may is May.NOTHING:
                self.came["own answer, cloud not asked"] += 1
            else:
                await self._ask(session, breaker, was_try=may is May.TRY)

    async def _ask(self, session: aiohttp.ClientSession, breaker: Breaker, *, was_try: bool) -> None:
        body = json.dumps({"instances": [[self._random.expovariate(1 / self._work_ms)]]})
        try:
            async with session.post(self._url, data=body, headers=HEADERS) as reply:
                await reply.read()
                full = full_seconds(reply.status, reply.headers.get(RETRY_AFTER))
        except (TimeoutError, aiohttp.ClientError):
            self.came["own answer after a timeout"] += 1
            breaker.failed(time.monotonic(), was_try=was_try)
            return
        if reply.ok:
            self.came["the cloud's answer"] += 1
            breaker.well()
        elif full is not None:
            self.came["own answer, turned away at once"] += 1
            breaker.full(time.monotonic(), full)
        else:
            self.came[f"status {reply.status}"] += 1
            breaker.failed(time.monotonic(), was_try=was_try)


def main() -> None:
    url, devices, per_second, seconds, work_ms, seed = sys.argv[1], *map(float, sys.argv[2:])
    fleet = Fleet(url, per_second, work_ms, int(seed))
    asyncio.run(fleet.live(int(devices), seconds))
    print(json.dumps(fleet.came))


if __name__ == "__main__":
    main()
