"""The container images of the platforms docker and kubernetes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Images:
    """Defaults are the official images. serving: TensorFlow Serving. gateway: Envoy. fetch: has sh, curl and sha256sum."""

    serving: str = "tensorflow/serving:2.20.0"
    gateway: str = "envoyproxy/envoy:distroless-v1.39.1@sha256:eb2c01c13125d1629637cb4e4cce7207009fb7cc2c8027f9742758549d15b6f4"
    fetch: str = "curlimages/curl:8.21.0@sha256:7c12af72ceb38b7432ab85e1a265cff6ae58e06f95539d539b654f2cfa64bb13"
