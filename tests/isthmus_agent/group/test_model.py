"""Whatever happens to devices, links and the broker: no request is lost, none is answered twice, and streams move in time."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.isthmus_agent.group.world import SETTINGS, World

from isthmus_agent.group.effects import Answered

NAMES = ("a", "b", "c", "d")
names = st.sampled_from(NAMES)


class Group(RuleBasedStateMachine):
    """Four devices of unequal capacity, two streams each; one that only asks."""

    @initialize(seed=st.integers(0, 2**32), works=st.lists(st.integers(0, 1500), min_size=8, max_size=8))
    def begin(self, seed, works):
        self.world, self.asked = World(seed, dict(zip(NAMES, (2000, 1000, 500, 0), strict=True)), losses=0.1), 0
        for index, work in enumerate(works):
            self.world.open(NAMES[index // 2], f"s{index % 2}", work, may_move=index != 1)

    @rule(name=names, stream=st.sampled_from(("s0", "s1")), count=st.integers(1, 20))
    def ask(self, name, stream, count):
        device = self.world.devices[name]
        for _ in range(count if device.core is not None and not device.is_paused else 0):
            self.asked += 1
            self.world.ask(name, stream, b"%d" % self.asked)

    @rule(seconds=st.sampled_from((0.01, 0.1, 1.0, 3.0, 10.0)))
    def wait(self, seconds):
        self.world.advance(seconds)

    @rule(name=names)
    def kill(self, name):
        self.world.kill(name)

    @rule(name=names)
    def start(self, name):
        if self.world.devices[name].core is None:
            self.world.begin(name)

    @rule(name=names)
    def cut(self, name):
        self.world.cut(name)

    @rule(name=names)
    def connect(self, name):
        self.world.connect(name)

    @rule(name=names)
    def pause(self, name):
        self.world.pause(name)

    @rule(name=names)
    def resume(self, name):
        self.world.resume(name)

    @rule(name=names)
    def lose_server(self, name):
        if not self.world.devices[name].is_paused:
            self.world.lose_server(name)

    @rule(forgets=st.booleans())
    def stop_broker(self, forgets):
        self.world.stop_broker(forgets=forgets)

    @precondition(lambda self: not self.world.is_broker_up)
    @rule()
    def start_broker(self):
        self.world.start_broker()

    def teardown(self):
        """All is well again, and then all that living devices asked has its one answer."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.start_broker()
        for name in NAMES:
            world.resume(name)
            if world.devices[name].core is None:
                world.begin(name)
            world.connect(name)
        world.advance(SETTINGS.most_aside_seconds + SETTINGS.expiry_seconds + 10 * SETTINGS.answer_seconds)
        for device in world.devices.values():
            assert device.asked.keys() == device.ended.keys(), f"{device.name} has lost some"
            assert all(isinstance(it, Answered) for it in device.ended.values())
            for lease in device.core.asking.leases.values():
                assert lease.owner is not None


TestGroup = pytest.mark.slow(Group.TestCase)
TestGroup.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
