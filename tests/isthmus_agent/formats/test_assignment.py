"""The assignment: what is read is what was written, what is odd is refused, and membership is a law."""

import copy
import math
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical
from tests.isthmus_agent.drawing import JSON, assignments, device_names, labels, salts

from isthmus_agent.formats import assignment, numbers
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Before, Kept, Wanted, Wave
from isthmus_agent.formats.contents import Delta, Variant
from isthmus_agent.formats.gate import Gate
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.pace import Pace, pace_draw
from isthmus_agent.formats.turns import Budget, Reached, Turns
from isthmus_agent.formats.window import Window


def _variant(letter: str, device_class: str = "*") -> Variant:
    return Variant(device_class, f"sha256:{letter * 64}", f"cameras/{letter * 64}.bundle", 1000)


A, B = _variant("a"), replace(_variant("b"), key="0123456789abcdef")
SOUND = Assignment(
    fleet="cameras",
    number=17,
    salt="00" * 8,
    variants=(_variant("c", "small"), B),
    waves=(
        Wave("canary", 0, devices=("camera-1",), gate=Gate(20_000, 300, 3600)),
        Wave("site", WHOLE_SHARE, {"site": "a"}, pace=Pace(2, (7, 2**40))),
        Wave("all", WHOLE_SHARE),
    ),
    open_waves=1,
    deltas=(Delta(A.digest, B.digest, "cameras/a-b.delta", 10, "0123456789abcdef"),),
    before=Before(16, (A,)),
    window=Window(60, 300, 600),
    kept=(
        Kept(
            15,
            "11" * 8,
            (_variant("d"),),
            (Wave("canary", 0, devices=("camera-3",), reached=2**47),),
            Reached("site", {"": (0, 2**47), "a": (0, 9)}),
        ),
    ),
    opened_seconds=(1_800_000_000,),
    turns=Turns(Budget("site", 2), {"": (2, 0), "a": (1, 0)}, 1_800_000_000),
    counts=True,
)


@given(assignments())
def test_what_is_read_is_what_was_written(it):
    assert assignment.from_value(it.to_value()) == it
    assert assignment.from_json(numbers.dump(it.to_value())) == it


def test_that_counts_are_told_is_written_where_it_is_agreed_to_and_nowhere_else():
    assert SOUND.to_value()["counts"] is True
    silent = replace(SOUND, counts=False)
    assert "counts" not in silent.to_value()
    assert silent.identity == SOUND.identity
    for odd in (False, 1, "true", None):
        with pytest.raises(FormatError):
            assignment.from_value({**silent.to_value(), "counts": odd})


@given(JSON)
def test_nothing_but_the_one_error_is_raised_for_any_value(value):
    with pytest.raises(FormatError):
        assignment.from_value(value)


@given(st.data(), JSON)
def test_nothing_but_the_one_error_is_raised_where_one_place_is_odd(data, odd):
    value = SOUND.to_value()
    at = value
    while True:
        key = data.draw(st.sampled_from(sorted(at)) if isinstance(at, dict) else st.integers(0, len(at) - 1))
        if not isinstance(at[key], (dict, list)) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = odd
    with suppress(FormatError):
        assignment.from_value(value)


@given(st.binary(max_size=300))
def test_nothing_but_the_one_error_is_raised_for_any_bytes(content):
    with pytest.raises(FormatError):
        assignment.from_json(content)


@pytest.mark.parametrize(
    ("path", "odd", "said"),
    [
        (("number",), 10**400, "number: found a number of 1329 bits"),
        (("number",), 0, "number: found 0, expected a whole number from 1"),
        (("number",), 17.0, "number: found a fraction"),
        (("number",), True, "number: found True"),
        (("format",), 2, "format: found 2"),
        (("open",), 4, "open: found 4, expected a whole number from 0 to 3"),
        (("open",), True, "open: found True"),
        (("opened",), [], r"opened: found a list of 0, expected a list of 1 to 1"),
        (("opened", 0), 1.5, r"opened\[0\]: found a fraction"),
        (("opened", 0), 2**60, r"opened\[0\]: found 1152921504606846976"),
        (("passed",), 1_800_000_000, "passed: not all waves are open"),
        (("waves", 0, "gate"), {}, r"waves\[0\]\.gate\.deadline_seconds: it is missing"),
        (("waves", 0, "gate", "max_failure_millionths"), 10**400, r"waves\[0\]\.gate\.max_failure_millionths: found a number of 1329 bits"),
        (("waves", 0, "gate", "soak_seconds"), 10**7, r"waves\[0\]\.gate\.soak_seconds"),
        (("waves", 0, "gate", "when_unclear"), "perhaps", "when_unclear: found 'perhaps', expected pause or pass"),
        (("waves", 0, "gate", "when_unclear"), ["pause"], "when_unclear: found a list"),
        (("waves", 0, "gate", "extra"), 1, r"waves\[0\]\.gate: unknown field 'extra'"),
        (("waves", 1, "pace", "most_per_minute"), 0, r"waves\[1\]\.pace\.most_per_minute: found 0"),
        (("waves", 1, "pace", "shares"), [1] * 1441, r"waves\[1\]\.pace\.shares: found a list of 1441"),
        (("waves", 1, "pace", "shares"), [7, 7], r"waves\[1\]\.pace\.shares: they do not rise"),
        (("waves", 1, "pace", "shares", 0), 2**48, r"waves\[1\]\.pace\.shares\[0\]: found 281474976710656"),
        (("waves", 1, "reached"), 1, r"waves\[1\]: unknown field 'reached'"),
        (("kept", 0, "waves", 0, "reached"), -1, r"kept\[0\]\.waves\[0\]\.reached: found -1"),
        (("turns", "label"), "", r"turns\.label: found ''"),
        (("turns", "most"), 0, r"turns\.most: found 0"),
        (("turns", "millionths"), 5, "turns: expected either most or millionths"),
        (("turns", "reached"), {f"{number}": [0, 0] for number in range(1025)}, r"turns\.reached: expected an object with 1024 values"),
        (("turns", "reached", "~"), [0, 0], r"turns\.reached: found '~', expected a label's value"),
        (("turns", "reached", "a"), [0], r"turns\.reached: found a list of 1"),
        (("turns", "reached", "a", 0), 4, r"turns\.reached: found 4, expected a whole number from 0 to 3"),
        (("turns", "reached", "a", 1), 2**48 + 1, r"turns\.reached: found 281474976710657"),
        (("turns", "since"), -1, r"turns\.since: found -1"),
        (("kept", 0, "turns", "reached", "a", 0), 2, r"kept\[0\]\.turns\.reached: found 2, expected a whole number from 0 to 1"),
        (("kept", 0, "number"), 17, r"kept\[0\]\.number: found 17, expected a whole number from 1 to 16"),
        (("kept", 0, "waves", 0, "gate"), None, r"kept\[0\]\.waves\[0\]: unknown field 'gate'"),
        (("kept", 0, "variants", 0, "bundle"), "roster/x.bundle", "expected cameras/NAME"),
        (("salt",), "xyz", "salt: found 'xyz'"),
        (("paused",), 0, "paused: found 0, expected true or false"),
        (("extra",), 1, "unknown field 'extra'"),
        (("before", "number"), 17, "before.number: found 17, expected a whole number from 1 to 16"),
        (("waves", 1, "share"), WHOLE_SHARE + 1, r"waves\[1\]\.share: found 4294967297"),
        (("waves", 1, "name"), "canary", "waves: the same name twice"),
        (("waves", 0, "devices"), ["a", "a"], r"waves\[0\]\.devices: the same device twice"),
        (("waves",), [], "waves: found a list of 0"),
        (("variants", 0, "class"), "*", "variants: the same class twice"),
        (("variants", 0, "bundle"), "roster/x.bundle", "expected cameras/NAME"),
        (("variants", 0, "bytes"), 0, r"variants\[0\]\.bytes: found 0"),
        (("window", "to"), "01:00", "window: it opens and closes at the same minute"),
        (("window", "from"), "24:00", "window.from: found '24:00'"),
        (("window", "from"), "٠١:٠٠", "window.from"),
        (("probation", "max_p95_ms"), 20, "unknown field 'max_p95_ms'"),
        (("probation", "seconds"), 10**7, "probation.seconds"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(path, odd, said):
    value = copy.deepcopy(SOUND.to_value())
    at = value
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = odd
    with pytest.raises(FormatError, match=said):
        assignment.from_value(value)


def test_a_device_has_the_first_open_wave_that_has_it_and_keeps_what_was_before_outside():
    assert SOUND.wanted("camera-1", {}, "large") == Wanted(17, B)
    assert SOUND.wanted("camera-1", {}, "small") == Wanted(17, SOUND.variants[0])
    assert SOUND.wanted("camera-2", {"site": "a"}, "large") == Wanted(16, A)
    assert replace(SOUND, open_waves=2, turns=None).wanted("camera-2", {"site": "a"}, "large") == Wanted(17, B)
    assert replace(SOUND, open_waves=2).wanted("camera-2", {"site": "b"}, "large") == Wanted(16, A)
    assert replace(SOUND, before=None).wanted("camera-2", {}, "large") is None
    assert SOUND.wanted("camera-3", {}, "large") == Wanted(15, SOUND.kept[0].variants[0])
    assert replace(SOUND, open_waves=3, turns=None).wanted("camera-3", {}, "large") == Wanted(17, B)
    assert replace(SOUND, variants=SOUND.variants[:1]).wanted("camera-1", {}, "large") == Wanted(17, None)


def test_a_device_of_an_open_wave_whose_turn_has_not_come_keeps_what_it_had_and_so_it_is_of_a_rollout_that_was_replaced():
    its, draws = replace(SOUND, open_waves=2), {site: pace_draw(SOUND.salt, "camera-2") + more for site, more in (("a", 1), ("b", 0))}
    by_site = replace(its, turns=replace(SOUND.turns, by_value={"a": (1, draws["a"])}))
    assert by_site.wanted("camera-2", {"site": "a"}, "large") == Wanted(17, B)
    for told in (its, replace(by_site, turns=replace(SOUND.turns, by_value={"a": (1, draws["b"])}))):
        assert told.wanted("camera-2", {"site": "a"}, "large") == Wanted(16, A)
    assert by_site.wanted("camera-1", {}, "large") == Wanted(16, A)  # of a value that has not come to its turn, in an earlier wave
    assert its.wanted("camera-1", {}, "large") == Wanted(17, B)
    kept = replace(SOUND.kept[0], waves=(Wave("all", WHOLE_SHARE),), turns=Reached("site", {"a": (0, pace_draw("11" * 8, "camera-3"))}))
    assert not kept.has("camera-3", {"site": "a"})
    assert replace(kept, turns=Reached("site", {"a": (0, pace_draw("11" * 8, "camera-3") + 1)})).has("camera-3", {"site": "a"})
    assert its.identity == by_site.identity


@given(salts, device_names, labels, st.integers(0, WHOLE_SHARE), st.integers(0, WHOLE_SHARE))
def test_a_larger_share_has_all_that_a_smaller_one_has(salt, device, own, one, other):
    small, large = sorted((one, other))
    assert not Wave("w", small).has(device, own, salt) or Wave("w", large).has(device, own, salt)
    assert Wave("w", WHOLE_SHARE).has(device, own, salt)
    assert not Wave("w", 0).has(device, own, salt)


@given(assignments(), device_names, labels)
def test_opening_a_wave_takes_the_content_from_nobody(it, device, own):
    reached = [replace(it, open_waves=count).wanted(device, own, "x") for count in range(len(it.waves) + 1)]
    has = [wanted is not None and wanted.number == it.number for wanted in reached]
    assert has == sorted(has)


def test_the_draw_is_the_one_that_every_other_program_makes():
    assert assignment.draw("00112233445566aa", "camera-1") == 0x6DB6B93A


def test_draws_are_uniform_and_another_salt_draws_anew():
    devices, cells = [f"camera-{index}" for index in range(20_000)], 64
    first = [assignment.draw("00" * 8, it) for it in devices]
    second = [assignment.draw("11" * 8, it) for it in devices]
    for draws in (first, second):
        counts = [0] * cells
        for it in draws:
            counts[it * cells // WHOLE_SHARE] += 1
        expected = len(devices) / cells
        chi_square = sum((count - expected) ** 2 / expected for count in counts)
        assert abs(chi_square - (cells - 1)) < 4 * math.sqrt(2 * (cells - 1))
    both = sum(a < WHOLE_SHARE // 10 and b < WHOLE_SHARE // 10 for a, b in zip(first, second, strict=True))
    assert abs(both - 200) < 60


@pytest.mark.parametrize(
    ("utc", "wait"), [(0, 3600), (3600, 0), (17_999, 0), (18_000, 86_400 - 14_400), (86_400 * 365 + 7200, 0), (-1, 3601)]
)
def test_a_window_opens_each_day(utc, wait):
    assert Window(60, 300).opens_in_seconds(utc) == wait


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 10_000), st.integers(0, 5000))
def test_how_long_a_window_was_open_is_the_sum_over_its_minutes(start, end, since_minute, minutes):
    window = Window(start, end)
    opened = sum(window.opens_in_seconds((since_minute + it) * 60) == 0 for it in range(minutes))
    assert window.open_between(since_minute * 60, (since_minute + minutes) * 60) == 60 * opened


def test_a_window_may_go_over_midnight():
    night = Window(23 * 60, 60)
    assert night.length_seconds == 7200
    assert [night.opens_in_seconds(hour * 3600) for hour in (22, 23, 0, 0.99, 1)] == [3600, 0, 0, 0, 22 * 3600]


def test_the_identity_is_of_content_and_members_and_not_of_how_far_the_rollout_is():
    same = [replace(SOUND, open_waves=2), replace(SOUND, paused=True), replace(SOUND, deltas=()), replace(SOUND, window=None)]
    same += [replace(SOUND, waves=tuple(replace(it, pace=None) for it in SOUND.waves)), replace(SOUND, opened_seconds=(1,))]
    same += [replace(SOUND, waves=tuple(replace(it, gate=None) for it in SOUND.waves))]
    assert {it.identity for it in same} == {SOUND.identity}
    other = [replace(SOUND, salt="11" * 8), replace(SOUND, variants=(A,)), replace(SOUND, before=None), replace(SOUND, number=18)]
    other.append(replace(SOUND, kept=()))
    assert len({it.identity for it in [SOUND, *other]}) == 6


@given(assignments())
def test_it_can_be_signed_as_canonical_json_which_knows_no_fractions(it):
    assert encode_canonical(it.to_value()) is not None
