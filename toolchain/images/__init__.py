"""Container images for the tests, and for machines that can pull none: `python -m toolchain.images`; docs/images.md says more."""

from toolchain.images.builder import build
from toolchain.images.contents import ENVOY, FETCH, SERVING

__all__ = ["ENVOY", "FETCH", "SERVING", "build"]
