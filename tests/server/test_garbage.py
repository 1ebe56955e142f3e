import gc
import weakref

import pytest

from isthmus.server.manager import settle_garbage

pytestmark = pytest.mark.slow


class Cycle:
    """Held by itself alone: only a collection frees it."""

    def __init__(self) -> None:
        self.me = self


def test_what_stays_is_out_of_later_collections_and_what_is_dropped_is_freed():
    try:
        held = Cycle()
        settle_garbage()
        assert gc.get_freeze_count() > 1000
        assert not any(it is held for it in gc.get_objects())
        freed = weakref.ref(held)
        del held
        gc.collect()
        assert freed() is not None  # frozen, a plain collection leaves it
        settle_garbage()
        assert freed() is None
    finally:
        gc.unfreeze()
