"""The little that a cluster asks of its own API server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from toolchain.cluster.certificates import Pair

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Api:
    """An API server, spoken to with a client's certificate."""

    server: str
    authority: Path
    client: Pair

    def get(self, path: str) -> Any:
        """What the server answers, as JSON; None if it does not answer or refuses."""
        certificate = (str(self.client.certificate), str(self.client.key))
        try:
            with requests.Session() as session:
                session.trust_env = False  # no proxy is asked about loopback
                answer = session.get(f"{self.server}{path}", cert=certificate, verify=str(self.authority), timeout=TIMEOUT_SECONDS)
                return answer.json() if answer.ok else None
        except (requests.RequestException, ValueError):
            return None

    def ready(self) -> bool:
        """Whether it serves what it always has: its default namespace is the last to appear."""
        return self.get("/api/v1/namespaces/default") is not None

    def ready_nodes(self) -> set[str]:
        """The names of the nodes that are ready for Pods."""
        items = (self.get("/api/v1/nodes") or {}).get("items", [])
        conditions = {item["metadata"]["name"]: item.get("status", {}).get("conditions", []) for item in items}
        return {name for name, found in conditions.items() if any(each["type"] == "Ready" and each["status"] == "True" for each in found)}

    def measured_nodes(self) -> set[str]:
        """The names of the nodes whose use is known."""
        return {item["metadata"]["name"] for item in (self.get("/apis/metrics.k8s.io/v1beta1/nodes") or {}).get("items", [])}
