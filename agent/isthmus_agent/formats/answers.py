"""What is a device's own in how it answers requests; everything else is TensorFlow Serving's."""

from typing import Final

HEALTH_PATH: Final = "/healthz"
"""Whether it serves, and which release."""
ANSWERED_BY: Final = "X-Isthmus-Answered-By"
"""The header of a prediction that says whose it is."""
DEVICE: Final = "device"
