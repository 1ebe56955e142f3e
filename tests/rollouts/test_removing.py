"""Removing what a fleet is told."""

from dataclasses import replace

import pytest
from tests.rollouts.world import World

from isthmus.errors import InputError
from isthmus.repository import ceremony
from isthmus.repository.publish import publish
from isthmus.rollouts.removing import remove
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Wave
from isthmus_agent.formats.contents import Variant


def test_all_of_a_repository_goes_and_nothing_beside_it(settled: World):
    settled.store.objects |= {"edge/mine.txt": b"x", "other/metadata/1.root.json": b"x", "edge/health/1/x": b""}
    remove(settled.fleet)
    assert sorted(settled.store.objects) == ["edge/mine.txt", "other/metadata/1.root.json"]
    assert remove(settled.fleet) == 0


def test_a_repository_that_tells_another_fleet_something_stays(settled: World):
    both = ceremony.add_fleet(settled.fleet.place, settled.fleet.keyring, "doors")
    variant = Variant("*", f"sha256:{'a' * 64}", "doors/x.bundle", 1)
    its = Assignment("doors", 1, "00" * 8, (variant,), (Wave("all", WHOLE_SHARE),), 0)
    publish(settled.fleet.place, both, "doors", lambda *_: its, {"doors/x.bundle": b"x"})
    with pytest.raises(InputError, match="is that of doors too"):
        remove(replace(settled.fleet, keyring=both))
