"""Container images."""

from typing import Annotated, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.arguments.checking import Checked
from isthmus.platforms.images import Images as DefaultImages


class ImagesArgs(TypedDict, total=False):
    """Container images: the model server, the gateway (Envoy), and curl that fetches a release."""

    serving: Input[str]
    gateway: Input[str]
    fetch: Input[str]


class ImagesSettings(Checked):
    serving: Annotated[str, Field(min_length=1)] = DefaultImages().serving
    gateway: Annotated[str, Field(min_length=1)] = DefaultImages().gateway
    fetch: Annotated[str, Field(min_length=1)] = DefaultImages().fetch
