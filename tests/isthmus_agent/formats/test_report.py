"""Reports in keys: small enough, read as they were written, and refused when anything of them was changed."""

import string
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.isthmus_agent.drawing import reports

from isthmus_agent.formats import report
from isthmus_agent.formats.numbers import MOST_NUMBER, FormatError
from isthmus_agent.formats.report import Figures, Outcome, Reason, Report, Routed

KEY = b"k" * 32
SOUND = Report(
    "camera-1", 17, Outcome.ROLLED_BACK, "ab" * 8, Reason.CRASHED, "SIGFPE in FLOOR_MOD", Figures(3, 99, 4, 1000, 1, 2, 1500, None, 7)
)


@given(reports, st.sampled_from(["", "fleets/cameras/", "ünïcode/"]))
def test_what_is_read_is_what_was_written(it, prefix):
    key = it.object_key(prefix, "cameras", KEY)
    assert report.read(key, prefix).verified("cameras", KEY) == it
    assert key.startswith(report.folder(prefix, it.number))


def test_the_longest_report_fits_into_a_key():
    routed = Routed(MOST_NUMBER, MOST_NUMBER, MOST_NUMBER - 1, *[MOST_NUMBER] * 5)
    figures = Figures(*[MOST_NUMBER] * 6, *[MOST_NUMBER - 1] * 6, routed)
    longest = Report("d" * 128, MOST_NUMBER, Outcome.ROLLED_BACK, "sha256:" + "f" * 64, max(Reason), "~" * 100, figures)
    key = longest.object_key("p" * report.MOST_PREFIX_BYTES, "f" * 64, KEY)
    assert len(key.encode()) < report.MOST_KEY_BYTES
    assert report.read(key, "p" * report.MOST_PREFIX_BYTES).verified("f" * 64, KEY).digest == "f" * 16


def test_a_report_with_one_character_changed_left_out_or_added_is_refused():
    key = SOUND.object_key("", "cameras", KEY)
    for at in range(len(key) + 1):
        for other in {*string.ascii_letters, *string.digits, "-", "_", "~", "/", ".", "=", "\n", "é"}:
            for changed in {key[:at] + other + key[at + 1 :], key[:at] + other + key[at:], key[:at] + key[at + 1 :]} - {key}:
                with pytest.raises(FormatError):
                    report.read(changed, "").verified("cameras", KEY)


def test_a_report_that_says_nothing_of_routing_is_written_as_it_always_was():
    assert report._packed(SOUND)[0] == 1
    assert report._packed(replace(SOUND, figures=replace(SOUND.figures, routed=Routed())))[0] == 2


def test_a_report_is_bound_to_its_device_and_fleet():
    key = SOUND.object_key("", "cameras", KEY)
    for fleet, own in (("doors", KEY), ("cameras", b"x" * 32)):
        with pytest.raises(FormatError, match="not by this device"):
            report.read(key, "").verified(fleet, own)


@given(st.text(max_size=300) | st.text(max_size=200).map(lambda it: f"health/17/camera-1~unfit~{it}~AAAAAAAAAAAAAAAAAAAAAA"))
def test_nothing_but_the_one_error_is_raised_for_any_text(text):
    with pytest.raises(FormatError):
        report.read(text, "").verified("cameras", KEY)


@given(st.sampled_from([1, 2]), st.binary(max_size=120))
def test_nothing_but_the_one_error_is_raised_for_any_fields_and_what_is_read_is_written_so(form, content):
    text = report._base64(bytes([form]) + content)
    said = f"17/camera-1~unfit~{text}"
    key = f"health/{said}~{report._base64(report._mac(KEY, 'cameras', said))}"
    try:
        found = report.read(key, "").verified("cameras", KEY)
    except FormatError:
        return
    assert found.object_key("", "cameras", KEY) == key


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "\x1b[2J"},
        {"text": "x" * 101},
        {"text": "é"},
        {"digest": "xyz"},
        {"digest": "sha256:ab"},
        {"device": "a~b"},
        {"number": 0},
        {"number": MOST_NUMBER + 1},
        {"figures": Figures(boots=-1)},
        {"figures": Figures(requests=10**400)},
        {"figures": Figures(rss_bytes=MOST_NUMBER)},
        {"figures": Figures(routed=Routed(place=-1))},
        {"figures": Figures(routed=Routed(round_trip_microseconds=MOST_NUMBER))},
        {"figures": Figures(p95_microseconds=1.5)},  # type: ignore[arg-type]
    ],
)
def test_a_device_cannot_say_more_than_is_allowed(changes):
    with pytest.raises(FormatError):
        replace(SOUND, **changes).object_key("", "cameras", KEY)


def test_the_keys_of_a_device_are_no_others():
    pattern = report.own_keys("edge/", "camera-1")
    assert fnmatchcase(SOUND.object_key("edge/", "cameras", KEY), pattern)
    for other in ("camera-11", "camera", "camera-1.x", "xcamera-1"):
        assert not fnmatchcase(replace(SOUND, device=other).object_key("edge/", "cameras", KEY), pattern)


def test_a_prefix_that_leaves_no_room_is_refused():
    with pytest.raises(FormatError, match="400 bytes at most"):
        SOUND.object_key("é" * 201, "cameras", KEY)


def test_a_text_is_made_printable():
    assert report.printable("a\x1b[2Jé" + "x" * 200) == "a?[2J?" + "x" * 94


def test_each_device_and_generation_has_a_key_of_its_own():
    secret = b"s" * 32
    keys = {report.device_key(secret, *who) for who in [("a", "b", 0), ("a", "b", 1), ("a", "c", 0), ("ab", "b", 0)]}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}


def test_a_devices_key_is_that_of_any_hkdf():
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    wanted = HKDF(SHA256(), 32, b"isthmus-device-report-key", b"cameras\0camera-1\x003").derive(b"s" * 32)
    assert report.device_key(b"s" * 32, "cameras", "camera-1", 3) == wanted


def test_the_numbers_of_reasons_stay():
    """They stand in reports that older operators read."""
    assert {reason.name: reason.value for reason in (Reason.UNREACHABLE, Reason.DISK_FULL, Reason.BUNDLE_INVALID, Reason.CRASHED)} == {
        "UNREACHABLE": 1,
        "DISK_FULL": 20,
        "BUNDLE_INVALID": 40,
        "CRASHED": 50,
    }
