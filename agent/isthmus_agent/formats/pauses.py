"""How long a device leaves a cloud role alone that was away or had no room; who sizes the cloud role reckons with it."""

from typing import Final

FIRST_PAUSE_SECONDS: Final = 5.0
"""After failures in a row; twice as long with each further one."""
MOST_PAUSE_SECONDS: Final = 60.0
PAUSE_SPREAD: Final = 0.25
"""Of a pause after failures, by which it is shorter or longer by chance."""
LEAST_FULL_SECONDS: Final = 1.0
"""That a cloud role without room is left alone, whatever it says."""
FULL_SPREAD: Final = 0.5
"""Of that pause, by which it is longer by chance, and never shorter."""
