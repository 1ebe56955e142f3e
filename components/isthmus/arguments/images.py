"""Container images."""

from typing import Annotated, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.arguments.checking import Checked


class ImagesArgs(TypedDict, total=False):
    """Container images: the model server, the gateway (Envoy), and curl that fetches a release."""

    serving: Input[str]
    gateway: Input[str]
    fetch: Input[str]


Image = Annotated[str, Field(min_length=1)]


class ImagesSettings(Checked):
    """Defaults are the official images. serving: TensorFlow Serving. gateway: Envoy. fetch: has sh, curl and sha256sum."""

    serving: Image = "tensorflow/serving:2.20.0"
    gateway: Image = "envoyproxy/envoy:distroless-v1.39.1@sha256:eb2c01c13125d1629637cb4e4cce7207009fb7cc2c8027f9742758549d15b6f4"
    fetch: Image = "curlimages/curl:8.21.0@sha256:7c12af72ceb38b7432ab85e1a265cff6ae58e06f95539d539b654f2cfa64bb13"
