"""Isthmus deploys AI models to the cloud, to edge fleets, or to both, as one declarative Pulumi program."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus.cloud import CloudModelService
    from isthmus.edge import EdgeFleetRollout
    from isthmus.hybrid import HybridDeployment

__all__ = ["CloudModelService", "EdgeFleetRollout", "HybridDeployment"]

# Loaded on first use: the device agent and the model server are in this package too, and need no Pulumi.
_HOME = {"CloudModelService": "isthmus.cloud", "EdgeFleetRollout": "isthmus.edge", "HybridDeployment": "isthmus.hybrid"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'isthmus' has no attribute {name!r}")
