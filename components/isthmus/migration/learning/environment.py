"""The process and a trace as an environment of gymnasium, so that other learners can be tried on what ours are.

It needs `gymnasium`, which nothing else here does. One episode is one trace; the seed of `reset` draws its cells. A place that isn't
allowed is not gone to: the device stays, or where it may not, goes to the first place that is allowed, and pays for that.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from isthmus.migration.learning.traces import Trace
from isthmus.migration.process import Choices, Process

Observation = dict[str, Any]


class MigrationEnvironment(gymnasium.Env[Observation, np.int64]):
    """Observed: `place`, `cell` and `levels` (the cell's, one for each dimension). Action: the next place. Reward: minus the cost.

    The episode is truncated at the trace's end, and never terminates. `info` holds `allowed`, (P,), as an action mask of 0 and 1.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  (gymnasium's own attribute)

    def __init__(self, process: Process, trace: Trace, home: int = 0) -> None:
        self._process, self._trace, self._home = process, trace, home
        places, cells = process.shape
        self.action_space = spaces.Discrete(places)
        self.observation_space = spaces.Dict(
            {"place": spaces.Discrete(places), "cell": spaces.Discrete(cells), "levels": spaces.MultiDiscrete(np.array(process.levels))}
        )
        self._cells: Choices = np.zeros(1, dtype=np.intp)
        self._place, self._step = home, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Begins the trace anew, at home. seed: of its cells; left out, the next one of the generator."""
        super().reset(seed=seed)
        self._cells = self._trace.cells(int(self.np_random.integers(2**31)))
        self._place, self._step = self._home, 0
        return self._seen()

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One step: move, serve, then the cell changes."""
        cell = int(self._cells[self._step])
        chosen = self._reached(int(action), cell)
        cost = self._process.moving_cost[self._place, chosen, cell] + self._process.serving_cost[chosen, cell]
        self._place, self._step = chosen, self._step + 1
        observed, info = self._seen()
        return observed, -float(cost), False, self._step >= self._trace.steps, info

    def _reached(self, action: int, cell: int) -> int:
        allowed = self._process.allowed[:, cell]
        return next(it for it in (action, self._place, int(allowed.argmax())) if allowed[it])

    def _seen(self) -> tuple[Observation, dict[str, Any]]:
        cell = int(self._cells[self._step])
        levels = np.array(self._process.cell_levels(cell), dtype=np.int64)
        observed = {"place": np.int64(self._place), "cell": np.int64(cell), "levels": levels}
        return observed, {"allowed": self._process.allowed[:, cell].astype(np.int8)}
