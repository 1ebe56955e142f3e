"""What every test shares."""

import os

from hypothesis import settings

# A shared machine stalls now and then: a test is judged by what it finds, not by how long one example took.
# CI tries the same examples every time.
settings.register_profile("isthmus", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("isthmus")
