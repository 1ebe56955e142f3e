"""A group of devices on a simulated bus: who does what when somebody dies, is cut off, lies or is slow."""

import pytest
from tests.isthmus_agent.group.world import SETTINGS, World, result_of

from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.passing import Answer, Outcome, Tag
from isthmus_agent.formats.presence import MOST_STREAMS, Order, Presence
from isthmus_agent.group.asking import TooManyError
from isthmus_agent.group.core import Core
from isthmus_agent.group.effects import Answered, Joined, Torn, Unanswered
from isthmus_agent.group.settings import Settings

LATE_SECONDS = 0.5
"""What the simulated bus delays at most, with the clocks' errors."""


def _owner(world: World, home: str, stream: str) -> str | None:
    return world.devices[home].core.asking.leases[stream].owner


def _away(seed: int = 1, **more: int) -> World:
    """`asks` can do nothing, and has its stream done by the larger of the two others."""
    world = World(seed, {"asks": 0, "large": 2000, "small": 1000, **more})
    world.open("asks", "camera", 900)
    world.advance(10)
    assert _owner(world, "asks", "camera") == "large"
    return world


def test_a_group_of_one_does_all_at_home():
    world = World(1, {"only": 100})
    world.open("only", "camera", 1000)
    world.ask("only", "camera", b"x")
    world.advance(1)
    assert list(world.devices["only"].ended.values()) == [Answered(1, result_of(b"x"))]


def test_a_stream_stays_at_home_where_its_home_is_not_full():
    world = World(1, {"home": 1000, "larger": 9000})
    world.open("home", "camera", 600)
    world.advance(20)
    assert _owner(world, "home", "camera") == "home"


def test_a_stream_of_a_device_that_is_too_busy_moves_to_one_that_is_not():
    world = World(1, {"home": 1000, "larger": 9000})
    world.open("home", "camera", 1200)
    world.advance(20)
    assert _owner(world, "home", "camera") == "larger"
    assert len(world.devices["home"].moves) == 2, "it moves once, and stays"


@pytest.mark.parametrize("seed", range(8))
def test_streams_of_a_device_that_died_are_with_others_within_the_expiry(seed):
    world = _away(seed)
    numbers = [world.ask("asks", "camera", b"%d" % it) for it in range(20)]
    died = world.now
    world.kill("large")
    world.advance(30)
    asks = world.devices["asks"]
    moved = [at for at, move in asks.moves if move.after == "small"]
    assert moved[0] - died <= SETTINGS.moved_within_seconds / 0.98 + LATE_SECONDS
    assert all(isinstance(asks.ended[number], Answered) for number in numbers)


def test_requests_in_hand_when_a_stream_moves_are_answered_by_who_has_them():
    world = _away()
    world.devices["large"].seconds_per_request = 2.0
    world.ask("asks", "camera", b"before")
    world.advance(0.5)
    world.open("small", "own", 0)
    world.open("large", "own", 1900)  # too busy now: the camera moves on
    world.advance(30)
    asks = world.devices["asks"]
    assert _owner(world, "asks", "camera") == "small"
    assert asks.core.asking.asked_again == 0
    assert len(asks.ended) == 1


def test_an_owner_that_was_stopped_and_wakes_up_finds_its_answers_refused():
    world = _away()
    world.advance(0.5)
    world.ask("asks", "camera", b"x")
    world.advance(0.001)
    world.pause("large")
    world.advance(20)
    asks = world.devices["asks"]
    assert _owner(world, "asks", "camera") == "small"
    assert len(asks.ended) == 1
    before = asks.core.asking.refused
    world.resume("large")
    world.advance(5)
    assert asks.core.asking.refused > before
    assert len(asks.ended) == 1


def test_an_answer_counts_only_from_whom_the_request_was_given_to_and_under_its_epoch():
    core = Core("asks", 3, 0, Settings())
    core.connecting()
    core.connected(0.0)
    core.heard("worker", Presence(Order(1, 1, 1), 1000), 0.0)
    core.open("camera", 10, 0.0)
    number, (passed,) = core.ask("camera", b"x", 0.0, 60)
    tag = passed.message.tag
    for sender, wrong in (
        ("other", tag),
        ("worker", Tag(2, tag.id, tag.epoch, 1)),
        ("worker", Tag(3, tag.id, tag.epoch - 1, 1)),
        ("worker", Tag(3, tag.id, tag.epoch, 2)),
        ("worker", Tag(3, tag.id + 1, tag.epoch, 1)),
    ):
        assert core.answered(sender, Answer(wrong, Outcome.DONE, b"forged"), 0.0) == []
    assert core.answered("worker", Answer(tag, Outcome.DONE, b"y"), 0.0) == [Answered(number, b"y")]
    assert core.answered("worker", Answer(tag, Outcome.DONE, b"y"), 0.0) == []


def test_an_owner_that_is_there_and_answers_nothing_loses_its_streams():
    world = _away()
    world.devices["large"].answers_nothing = True
    asked = world.now
    world.ask("asks", "camera", b"x")
    world.advance(30)
    asks = world.devices["asks"]
    moved = next(at for at, move in asks.moves if move.after == "small")
    assert moved - asked <= SETTINGS.given_up_within_seconds / 0.98 + LATE_SECONDS
    assert len(asks.ended) == 1


def test_a_device_that_is_cut_off_does_its_streams_itself():
    world = World(1, {"home": 1000, "larger": 9000})
    world.open("home", "camera", 1200)
    world.advance(20)
    world.cut("home")
    for _ in range(5):
        world.ask("home", "camera", b"x")
    world.advance(SETTINGS.expiry_seconds + 2)
    assert _owner(world, "home", "camera") == "home"
    assert len(world.devices["home"].ended) == 5


def test_a_broker_that_restarts_sooner_than_the_expiry_moves_nothing():
    world = _away()
    moves = len(world.devices["asks"].moves)
    world.stop_broker(forgets=True)
    world.ask("asks", "camera", b"x")
    world.advance(2)
    world.start_broker()
    for name in world.devices:
        world.connect(name)
    world.advance(10)
    assert len(world.devices["asks"].moves) == moves
    assert len(world.devices["asks"].ended) == 1


def test_what_may_not_move_is_done_at_home_even_where_home_can_do_nothing():
    world = World(1, {"home": 100, "larger": 9000})
    world.open("home", "private", 5000, may_move=False)
    world.advance(20)
    world.ask("home", "private", b"a face")
    world.advance(20)
    assert _owner(world, "home", "private") == "home"
    assert not world.devices["larger"].worked


def test_a_server_that_died_has_its_requests_done_by_the_next():
    world = World(1, {"home": 1000})
    world.open("home", "camera", 10)
    for _ in range(3):
        world.ask("home", "camera", b"x")
    world.lose_server("home")
    world.advance(2)
    assert len(world.devices["home"].ended) == 3


def test_a_request_that_is_in_hand_is_not_begun_again():
    world = _away()
    world.repeats = 1.0
    world.advance(1)
    for _ in range(10):
        world.ask("asks", "camera", b"x")
    world.advance(3)
    worked = world.devices["large"].worked
    assert len(worked) == len(set(worked)) == 10


def test_what_is_too_much_is_refused_and_said():
    core = Core("home", 1, 100, Settings(most_waiting=2, most_working=1))
    core.open("camera", 10, 0.0)
    core.ask("camera", b"x", 0.0, 60)
    core.ask("camera", b"x", 0.0, 60)
    with pytest.raises(TooManyError, match="2 requests"):
        core.ask("camera", b"x", 0.0, 60)
    assert core.working.turned_away == 1


def test_a_request_that_its_asker_has_an_answer_for_is_forgotten():
    core = Core("home", 1, 100, Settings())
    core.open("camera", 10, 0.0)
    number, (work,) = core.ask("camera", b"x", 0.0, 60)
    core.asking.withdraw(number)
    assert core.done(work.key, Outcome.DONE, b"late", 1.0) == []


def test_a_request_whose_time_is_over_is_said_to_be_unanswered():
    core = Core("asks", 1, 0, Settings())
    core.open("camera", 10, 0.0)
    number, _ = core.ask("camera", b"x", 0.0, 3)
    assert core.wakes_at(0.0) == 2.0 or core.wakes_at(0.0) == 3.0
    assert Unanswered(number, "there was no answer in time") in core.tick(3.0)


def test_a_failed_request_is_answered_with_its_reason():
    core = Core("home", 1, 100, Settings())
    core.open("camera", 10, 0.0)
    number, (work,) = core.ask("camera", b"x", 0.0, 60)
    assert core.done(work.key, Outcome.FAILED, b"wrong shape", 1.0) == [Unanswered(number, "wrong shape")]


@pytest.mark.parametrize(
    ("name", "work", "error"),
    [("tiles.1", 1, ValueError), ("a/b", 1, FormatError), ("camera", -1, FormatError), ("camera", True, FormatError)],
)
def test_a_stream_that_makes_no_sense_is_refused(name, work, error):
    with pytest.raises(error):
        Core("home", 1, 100, Settings()).open(name, work, 0.0)


def test_there_is_a_bound_on_streams():
    core = Core("home", 1, 100, Settings())
    for it in range(MOST_STREAMS):
        core.open(f"s{it}", 0, 0.0)
    with pytest.raises(ValueError, match="at most"):
        core.open("more", 0, 0.0)


@pytest.mark.parametrize(
    "wrong",
    [{"beat_seconds": 0}, {"expiry_seconds": 3.0}, {"answer_seconds": float("nan")}, {"most_waiting": True}, {"aside_seconds": 999.0}],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


# Tiles

TILES = [b"%d" % it for it in range(70)]


def _speeds(world: World) -> dict[str, float]:
    return {name: 1 / it.seconds_per_request for name, it in world.devices.items() if it.capacity}


def _parallel(seed: int, seconds: dict[str, float]) -> World:
    world = World(seed, dict.fromkeys(seconds, 1000), most_delay=0.005, repeats=0.0)
    for name, each in seconds.items():
        world.devices[name].seconds_per_request = each
    world.advance(5)
    return world


@pytest.mark.parametrize("seed", range(5))
def test_tiles_are_done_in_the_time_that_formula_2_says(seed):
    world = _parallel(seed, {"a": 0.1, "b": 0.05, "c": 0.025})
    begun = world.now
    number = world.split("a", TILES, _speeds(world))
    job = world.devices["a"].core._jobs[number][0]
    assert dict(job.parts) == {"a": 10, "b": 20, "c": 40}
    assert job.predicted_seconds == pytest.approx(1.0)
    while number not in world.devices["a"].jobs:
        world.advance(0.001)
    assert world.devices["a"].jobs[number] == Joined(number, tuple(map(result_of, TILES)))
    assert world.now - begun == pytest.approx(job.predicted_seconds, rel=0.15)
    assert world.now - begun < 70 * 0.025, "faster than the fastest device alone"


@pytest.mark.parametrize("victim", ["b", "c"])
@pytest.mark.parametrize("seed", range(5))
def test_tiles_of_a_device_that_died_are_done_by_others(seed, victim):
    world = _parallel(seed, {"a": 0.1, "b": 0.05, "c": 0.025})
    number = world.split("a", TILES, _speeds(world))
    world.advance(0.4)
    world.kill(victim)
    world.advance(30)
    assert world.devices["a"].jobs[number] == Joined(number, tuple(map(result_of, TILES)))


def test_speeds_that_were_wrong_are_mended_by_those_that_are_measured():
    world = _parallel(1, {"a": 0.1, "b": 0.1})
    number = world.split("a", TILES, {"a": 90.0, "b": 10.0})
    begun = world.now
    while number not in world.devices["a"].jobs:
        world.advance(0.01)
    assert world.now - begun == pytest.approx(3.5, rel=0.15)


def test_a_job_that_nobody_can_end_is_torn():
    world = _parallel(1, {"a": 0.1, "b": 0.05})
    number = world.split("a", TILES, {"b": 20.0})
    world.kill("b")
    world.advance(30)
    assert world.devices["a"].jobs[number] == Torn(number, "no device is left that does its tiles")
    assert len(world.devices["a"].core.asking) == 0


def test_a_job_that_takes_too_long_is_torn():
    world = _parallel(1, {"a": 1.0, "b": 1.0})
    number = world.split("a", TILES, {"b": 20.0}, within_seconds=3.0)
    world.advance(10)
    assert world.devices["a"].jobs[number] == Torn(number, "there was no answer in time")
    assert len(world.devices["a"].core.asking) == 0


def test_a_job_larger_than_what_may_wait_is_done_bit_by_bit():
    world = World(1, {"a": 1000, "b": 1000}, Settings(most_bytes=3000), repeats=0.0)
    world.advance(5)
    number = world.split("a", [b"%d" % it * 500 for it in range(9)], {"a": 10.0, "b": 10.0})
    world.advance(60)
    assert isinstance(world.devices["a"].jobs[number], Joined)


def test_an_expiry_that_passed_unseen_still_wakes_a_device_that_is_cut_off():
    core = Core("home", 1, 500, SETTINGS)
    core.connecting()
    core.connected(0.0)
    core.open("camera", 900, 0.0)
    core.heard("large", Presence(Order(1, 1, 1), 9000), 0.0)
    assert core.asking.leases["camera"].owner == "large"
    core.disconnected()
    late = SETTINGS.expiry_seconds + 1.0  # whoever runs it did something else when it should have been called
    core.ask("camera", b"x", late, 600.0)
    assert core.wakes_at(late) <= late
    core.tick(late)
    assert core.asking.leases["camera"].owner == "home"
    assert core.wakes_at(late) > late


def test_a_device_that_offers_nothing_any_more_hands_its_streams_on_and_has_them_again_when_nobody_else_is_there():
    world = World(1, {"home": 1000, "other": 1000})
    world.open("home", "camera", 100)
    world.advance(10)
    world.offer("home", 0)
    world.advance(5)
    assert _owner(world, "home", "camera") == "other"
    world.offer("home", 1000)
    world.kill("other")
    world.advance(20)
    assert _owner(world, "home", "camera") == "home"


@pytest.mark.parametrize("wrong", [-1, True, 1.5, 10**13])
def test_what_is_no_capacity_is_refused(wrong):
    with pytest.raises(FormatError, match="capacity_per_1000_seconds"):
        Core("a", 1, 0, SETTINGS).offer(wrong, 0.0)
