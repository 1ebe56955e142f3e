"""Asking the cloud role when the device's own answer is not good enough."""

import logging
from collections.abc import Mapping
from typing import Any

import aiohttp
import numpy as np
import numpy.typing as npt

from isthmus.agent.config import FallbackConfig
from isthmus.names import model_path

Array = npt.NDArray[Any]

# How far probabilities may miss 1 in sum: a quantised softmax rounds each class.
SUM_TOLERANCE = 0.05
_LOG = logging.getLogger(__name__)


def confidence(outputs: Mapping[str, Array]) -> float | None:
    """The largest probability of the least certain row; None where the outputs are not one table of probabilities.

    A table of probabilities is a single float output [rows, classes] of at least two classes, each in [0, 1], with a
    sum of 1 in each row.
    """
    if len(outputs) != 1:
        return None
    (table,) = outputs.values()
    if table.dtype.kind != "f" or table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        return None
    if not ((table >= 0) & (table <= 1 + SUM_TOLERANCE)).all():  # a NaN is neither
        return None
    if (np.abs(table.sum(axis=1, dtype=np.float64) - 1) > SUM_TOLERANCE).any():
        return None
    return float(table.max(axis=1).min())


class Cloud:
    """The cloud role, as a device asks it."""

    def __init__(self, config: FallbackConfig, model: str) -> None:
        self.min_confidence = config.min_confidence
        self._url = f"{config.url}{model_path(model)}:predict"
        self._timeout = aiohttp.ClientTimeout(total=config.timeout_ms / 1000)
        self._session: aiohttp.ClientSession | None = None

    async def predict(self, body: bytes) -> bytes | None:
        """The cloud's answer to a `:predict` body; None where there is none in time."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        try:
            async with self._session.post(self._url, data=body, headers={"Content-Type": "application/json"}) as reply:
                if reply.status == 200:
                    return await reply.read()
                _LOG.warning("the cloud role answers %d", reply.status)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            _LOG.warning("the cloud role does not answer (%s)", type(error).__name__)
        return None

    async def close(self) -> None:
        """Ends the connections."""
        if self._session is not None:
            await self._session.close()
