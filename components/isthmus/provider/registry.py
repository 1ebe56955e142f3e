"""The table from type token to handler."""

from collections.abc import Mapping

from isthmus.provider.handler import Handler
from isthmus.provider.handlers.bucket import BucketHandler
from isthmus.provider.handlers.keys import SigningKeyHandler, StoreCredentialsHandler
from isthmus.provider.handlers.local_processes import LocalProcessesHandler
from isthmus.provider.handlers.local_supervisor import LocalSupervisorHandler
from isthmus.provider.handlers.model_folder import ModelFolderHandler
from isthmus.provider.handlers.rollout import RolloutHandler
from isthmus.provider.handlers.signed_bundle import SignedBundleHandler

PACKAGE = "isthmus"

_HANDLERS: tuple[Handler, ...] = (
    LocalSupervisorHandler(),
    LocalProcessesHandler(),
    ModelFolderHandler(),
    StoreCredentialsHandler(),
    SigningKeyHandler(),
    BucketHandler(),
    SignedBundleHandler(),
    RolloutHandler(),
)

HANDLERS: Mapping[str, Handler] = {f"{PACKAGE}:index:{handler.spec.name}": handler for handler in _HANDLERS}
