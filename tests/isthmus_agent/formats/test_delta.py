"""Deltas are applied as written, and refused where anything about them is wrong."""

import contextlib
import hashlib
import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.release.coding import encode, number
from isthmus_agent.formats import delta
from isthmus_agent.formats.numbers import FormatError

OLD = bytes(range(256)) * 40


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def applied(old: bytes, patch: bytes, new: bytes) -> bytes:
    """What a device makes of it, told to expect `new`."""
    made = io.BytesIO()
    delta.apply(io.BytesIO(old), io.BytesIO(patch), made, digest=digest(new), most_bytes=len(new))
    return made.getvalue()


def written(size_bytes: int, *frames: tuple[list[tuple[int, ...]], list[bytes]]) -> bytes:
    """A delta, number by number. frames: operations, and the contents of each kind."""
    coded = b""
    for operations, contents in frames:
        listed = number(len(operations)) + b"".join(number(value) for operation in operations for value in operation)
        coded += number(len(listed)) + encode(listed) + b"".join(map(encode, contents))
    return delta.MAGIC + number(size_bytes) + coded


def test_each_operation_does_what_it_says():
    patch = written(
        24,
        (
            [(delta.COPY, 4, 2 * 10), (delta.NEW, 4), (delta.SUM, 4, 2 * 0), (7, 4, 2 * 10 - 1), (6, 2, 0), (2, 6)],
            [b"abcd", bytes([1, 0, 255, 0]), bytes([2, 1]), bytes([0, 0]), bytes([0x1F, 0xF1]), b"ace", b"bdf"],
        ),
    )
    # Copied from 10; new; summed from 14; 16 bits wide from 18 - 10 = 8; 4 bits wide from 12; new of 16 bits.
    new = OLD[10:14] + b"abcd" + bytes([15, 15, 15, 17]) + bytes([9, 9, 9, 11]) + bytes([0x1B, 0xFE]) + b"abcdef"
    assert applied(OLD, patch, new) == new


def test_an_empty_file_is_made_of_nothing():
    assert applied(OLD, written(0), b"") == b""


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        (b"", "ends early"),
        (b"ISTD\x02" + number(4), "no delta of a version"),
        (written(5), "makes a file of 5 bytes, 4 at most"),
        (written(3, ([(delta.COPY, 3, 0)], [])), "wrong content"),
        (written(4), "ends early"),
        (written(4, ([], [])), "makes nothing"),
        (written(4, ([(delta.COPY, 4, 2 * (len(OLD) - 3))], [])), "beyond the old file"),
        (written(4, ([(delta.COPY, 4, 1)], [])), "beyond the old file"),
        (written(4, ([(delta.COPY, 5, 0)], [])), "above 4"),
        (written(4, ([(delta.COPY, 0, 0)], [])), "makes 0 bytes"),
        (written(4, ([(8, 2, 0)], [])), "makes 2 bytes"),
        (written(4, ([(15, 4, 0)], [])), "kind 15"),
        (written(4, ([(delta.COPY, 4, 0), (delta.COPY, 4, 0)], [])), "above 0"),
        (written(4, ([(delta.COPY, 4, 0)], [])) + b"x", "follows its end"),
        (written(4, ([(delta.COPY, 4, 2)], [])), "wrong content"),
        (delta.MAGIC + number(4) + number(delta.OPERATIONS_BYTES + 1), "above 262144"),
    ],
)
def test_what_is_no_delta_of_these_files_is_refused(patch, told):
    with pytest.raises(FormatError, match=told):
        applied(OLD, patch, OLD[:4])


SMALL = written(300, ([(delta.SUM, 200, 2 * 40), (delta.NEW, 100)], [bytes([0, 0, 0, 1]) * 50, b"0123456789" * 10]))
SMALL_NEW = bytes((byte + (place % 4 == 3)) % 256 for place, byte in enumerate(OLD[40:240])) + b"0123456789" * 10


def test_every_wrong_byte_is_refused_or_makes_no_difference():
    assert applied(OLD, SMALL, SMALL_NEW) == SMALL_NEW
    for place in range(len(SMALL)):
        for change in (*(1 << bit for bit in range(8)), 0xFF):
            damaged = bytearray(SMALL)
            damaged[place] ^= change
            with contextlib.suppress(FormatError):
                assert applied(OLD, bytes(damaged), SMALL_NEW) == SMALL_NEW


def test_every_cut_is_refused():
    for length in range(len(SMALL)):
        with pytest.raises(FormatError):
            applied(OLD, SMALL[:length], SMALL_NEW)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_after_the_head_are_refused(raw):
    with pytest.raises(FormatError):
        applied(OLD, delta.MAGIC + number(300) + raw, SMALL_NEW)


def test_another_old_file_is_refused():
    for other in (b"", OLD[:100], bytes(len(OLD))):
        with pytest.raises(FormatError):
            applied(other, SMALL, SMALL_NEW)


def test_a_large_file_is_made_piece_by_piece():
    frames = 12
    whole = ([(delta.SUM, delta.FRAME_BYTES, 0)], [bytes(delta.FRAME_BYTES - 1) + b"\x01"])
    patch = written(frames * delta.FRAME_BYTES, *[whole] * frames)
    old = bytes(delta.FRAME_BYTES)
    hashed, lengths = hashlib.sha256(), []

    class Sink:
        def write(self, data: bytes) -> None:
            lengths.append(len(data))

    for _ in range(frames):
        hashed.update(old[:-1] + b"\x01")
    tracemalloc.start()
    try:
        name = f"sha256:{hashed.hexdigest()}"
        delta.apply(io.BytesIO(old), io.BytesIO(patch), Sink(), digest=name, most_bytes=frames * delta.FRAME_BYTES)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lengths == [delta.FRAME_BYTES] * frames
    assert peak_bytes < 8 * delta.FRAME_BYTES


def test_an_error_of_a_file_is_passed_on():
    class Full:
        def write(self, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        delta.apply(io.BytesIO(OLD), io.BytesIO(SMALL), Full(), digest=digest(SMALL_NEW), most_bytes=300)
