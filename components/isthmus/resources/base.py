"""What the custom resources share."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi import ResourceOptions

from isthmus.names import token
from isthmus.owner import owner_of


def this_stack() -> str:
    """The stack that runs, as the owner of what it makes."""
    return owner_of(str(pulumi.get_organization() or ""), pulumi.get_project(), pulumi.get_stack())


class Resource(pulumi.CustomResource):
    def __init__(
        self, name: str, inputs: Mapping[str, Any], outputs: Sequence[str], opts: ResourceOptions | None, secret: Sequence[str] = ()
    ) -> None:
        options = ResourceOptions.merge(opts, ResourceOptions(additional_secret_outputs=list(secret)))
        super().__init__(token(type(self).__name__), name, {**dict.fromkeys(outputs), **inputs}, options)
