"""What the agent's two halves share: the updater writes it, the REST server reads it.

Every field is replaced as a whole, so that no lock is needed: a request works on the model that it took.
"""

from dataclasses import dataclass, field

from isthmus.agent.model import Model


@dataclass
class Counters:
    """Since the agent started; named as in the report."""

    requests: int = 0
    errors: int = 0
    answered_by_device: int = 0
    answered_by_cloud: int = 0
    cloud_unavailable: int = 0


@dataclass
class State:
    """model: what is served; None before the first release. endpoint: URL, known when the server listens."""

    model: Model | None = None
    endpoint: str = ""
    counters: Counters = field(default_factory=Counters)
