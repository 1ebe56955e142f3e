"""Deltas from one file to another, for devices (`isthmus_agent.formats.delta` says what is written).

Tensors are found in both files, and their elements subtracted. What is no tensor goes by bsdiff4's operations. The same is done with
bsdiff4's operations on the whole files, so that what lost its shape is never worse off, and the shorter of the two is the delta.
"""

import bz2
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import bsdiff4
import numpy as np
from numpy.typing import NDArray

from isthmus.release.coding import encode, entropy_bytes, number
from isthmus.tflite.constants import Constant, constants
from isthmus.tflite.verify import DamagedFileError
from isthmus_agent.formats.delta import COPY, FRAME_BYTES, GROUP, GROUPS, KINDS, MAGIC, NEW, OPERATIONS_BYTES, SUM

WHOLE_BYTES = 8 << 20
"""bsdiff4 sorts all suffixes of the old file, for which it holds twenty times its size and takes seconds for a megabyte: of a larger
file with tensors it gets only what is no tensor."""
LEAST_TENSOR_BYTES = 16
_OF_BITS = {4: 6, 8: SUM, 16: 7, 32: 8, 64: 9}
_NEW_OF_BITS = {4: NEW, 8: NEW, 16: 2, 32: 3, 64: 4}


@dataclass(frozen=True)
class Step:
    """An operation at its place in the new file. tensor: which tensor it makes, from 1; 0: none."""

    kind: int
    new_at: int
    length: int
    old_at: int = 0
    tensor: int = 0


def make(old: bytes, new: bytes) -> bytes:
    """The shortest delta that was found. old: empty for a full file."""
    return min((_written(old, new, steps) for steps in _ways(old, new)), key=len)


def _ways(old: bytes, new: bytes) -> Iterator[list[Step]]:
    tensors = _tensors(old, new)
    if tensors:
        yield _with_tensors(old, new, tensors)
    if not tensors or len(old) <= WHOLE_BYTES:
        yield list(_differences(old, new, [(0, len(old))], [(0, len(new))]))


def _tensors(old: bytes, new: bytes) -> list[Step]:
    """Tensors of the new file, in its order, none of which overlaps another; with what to do about each."""
    known: dict[tuple[object, ...], list[Constant]] = defaultdict(list)
    for constant in reversed(_constants(old)):
        known[_key(constant)].append(constant)
    found: list[Step] = []
    end = 0
    partners = [(constant, known[_key(constant)].pop() if known[_key(constant)] else None) for constant in _constants(new)]
    for constant, partner in sorted(partners, key=lambda pair: pair[0].start):
        if constant.start < end:
            continue
        end = constant.start + constant.size_bytes
        step = Step(_NEW_OF_BITS[constant.bits], constant.start, constant.size_bytes, tensor=len(found) + 1)
        if partner is not None:
            step = _best(old, new, step, replace(step, kind=_OF_BITS[constant.bits], old_at=partner.start))
        elif constant.bits <= 8 and old:
            continue  # its shape has changed: perhaps a part of it is still there
        found.append(step)
    return found


def _constants(file: bytes) -> tuple[Constant, ...]:
    try:
        found = constants(file)
    except DamagedFileError:  # it is no model: its bytes are all that is known about it
        return ()
    return tuple(c for c in found if c.bits in _OF_BITS and c.size_bytes >= LEAST_TENSOR_BYTES and c.size_bytes % max(c.bits // 8, 1) == 0)


def _key(constant: Constant) -> tuple[object, ...]:
    return constant.name, constant.part, constant.type, constant.shape, constant.size_bytes


def _best(old: bytes, new: bytes, as_new: Step, as_sum: Step) -> Step:
    """The tensor copied, subtracted or written anew: whichever has the least entropy."""
    before = old[as_sum.old_at : as_sum.old_at + as_sum.length]
    after = new[as_sum.new_at : as_sum.new_at + as_sum.length]
    if before == after:
        return replace(as_sum, kind=COPY)
    return min((as_sum, as_new), key=lambda step: sum(map(entropy_bytes, _planes(step.kind, before, after))))


def _with_tensors(old: bytes, new: bytes, tensors: Sequence[Step]) -> list[Step]:
    """The tensors, and between them what comes from the rest of the old file."""
    taken = sorted((step.old_at, step.old_at + step.length) for step in tensors if KINDS[step.kind].old)
    old_rest = _between(taken, len(old))
    new_rest = _between([(step.new_at, step.new_at + step.length) for step in tensors], len(new))
    return sorted((*tensors, *_differences(old, new, old_rest, new_rest)), key=lambda step: step.new_at)


def _between(taken: Sequence[tuple[int, int]], end: int) -> list[tuple[int, int]]:
    """The stretches of a file that are not taken."""
    found, start = [], 0
    for first, last in taken:
        if first > start:
            found.append((start, first))
        start = max(start, last)
    if end > start:
        found.append((start, end))
    return found


def _differences(old: bytes, new: bytes, old_rest: Sequence[tuple[int, int]], new_rest: Sequence[tuple[int, int]]) -> Iterator[Step]:
    """bsdiff4's operations on stretches of both files, at their places in the files."""
    old_joined = b"".join(old[start:end] for start, end in old_rest)
    new_joined = b"".join(new[start:end] for start, end in new_rest)
    in_old, in_new = _Places(old_rest), _Places(new_rest)
    old_at = new_at = 0
    for summed, added, skipped in _bsdiff(old_joined, new_joined):
        done = 0
        while done < summed:
            place, length = in_new.at(new_at + done, summed - done)
            from_old = old_at + done
            if 0 <= from_old < len(old_joined):
                source, length = in_old.at(from_old, length)
                same = old[source : source + length] == new[place : place + length]
                yield Step(COPY if same else SUM, place, length, source)
            else:  # bsdiff4 takes zeros for what lies outside of the old file
                length = min(length, -from_old) if from_old < 0 else length
                yield Step(NEW, place, length)
            done += length
        done = 0
        while done < added:
            place, length = in_new.at(new_at + summed + done, added - done)
            yield Step(NEW, place, length)
            done += length
        old_at += summed + skipped
        new_at += summed + added


def _bsdiff(old: bytes, new: bytes) -> Iterator[tuple[int, int, int]]:
    """How many bytes are summed with old ones, how many are added, and how far it goes on in the old file then, again and again."""
    if not old or not new:
        yield 0, len(new), 0
        return
    patch = bsdiff4.diff(old, new)
    control_bytes = struct.unpack_from("<q", patch, 8)[0]
    for triple in struct.iter_unpack("<3Q", bz2.decompress(patch[32 : 32 + control_bytes])):
        # Sign and magnitude.
        summed, added, skipped = (-(value & (1 << 63) - 1) if value >> 63 else value for value in triple)
        yield summed, added, skipped


class _Places:
    """Where a byte of the joined stretches lies in the file."""

    def __init__(self, stretches: Sequence[tuple[int, int]]) -> None:
        sizes = [end - start for start, end in stretches]
        self._joined = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        self._starts = [start for start, _ in stretches]

    def at(self, joined: int, length: int) -> tuple[int, int]:
        """The place, and how many of the next `length` bytes lie there in one piece."""
        index = int(np.searchsorted(self._joined, joined, side="right")) - 1
        return self._starts[index] + joined - int(self._joined[index]), min(length, int(self._joined[index + 1]) - joined)


def _written(old: bytes, new: bytes, steps: Sequence[Step]) -> bytes:
    return MAGIC + number(len(new)) + b"".join(_frame(old, new, frame) for frame in _frames(_merged(steps)))


def _merged(steps: Sequence[Step]) -> Iterator[Step]:
    """Neighbours that go on with the same are one step."""
    last: Step | None = None
    for step in steps:
        if last is not None and (step.kind, step.tensor) == (last.kind, last.tensor) and _follows(last, step):
            last = replace(last, length=last.length + step.length)
            continue
        if last is not None:
            yield last
        last = step
    if last is not None:
        yield last


def _follows(last: Step, step: Step) -> bool:
    return not KINDS[step.kind].old or step.old_at == last.old_at + last.length


def _frames(steps: Iterator[Step]) -> Iterator[list[Step]]:
    """Steps cut where a frame is full: at whole elements, and before its list of operations is too long."""
    frame: list[Step] = []
    left = FRAME_BYTES
    most_steps = OPERATIONS_BYTES // 20  # the longest operation
    for whole in steps:
        step = whole
        while step.length > left or len(frame) == most_steps:
            length = 0 if len(frame) == most_steps else left - left % 8
            if length:
                frame.append(replace(step, length=length))
            yield frame
            frame, left = [], FRAME_BYTES
            old_at = step.old_at + length if KINDS[step.kind].old else 0
            step = replace(step, new_at=step.new_at + length, length=step.length - length, old_at=old_at)
        frame.append(step)
        left -= step.length
    if frame:
        yield frame


_GROUPINGS: tuple[Callable[[int], int], ...] = (lambda tensor: 0, lambda tensor: min(tensor, 1), lambda tensor: tensor % GROUPS)


def _frame(old: bytes, new: bytes, steps: Sequence[Step]) -> bytes:
    """A frame, with all tensors of a kind coded together or each by itself."""
    tensors = {step.tensor for step in steps}
    groupings = _GROUPINGS if len(tensors) > 1 else _GROUPINGS[:1]
    return min((_grouped(old, new, steps, grouping) for grouping in groupings), key=len)


def _grouped(old: bytes, new: bytes, steps: Sequence[Step], grouping: Callable[[int], int]) -> bytes:
    listed, last = [number(len(steps))], 0
    contents: dict[int, tuple[list[bytes], list[bytes]]] = {}
    for step in steps:
        kind = KINDS[step.kind]
        head = step.kind + GROUP * (grouping(step.tensor) if kind.content else 0)
        listed += [number(head), number(step.length)]
        if kind.old:
            far = step.old_at - last
            listed.append(number(far << 1 if far >= 0 else (-far << 1) - 1))
            last = step.old_at + step.length
        if kind.content:
            before, after = contents.setdefault(head, ([], []))
            before.append(old[step.old_at : step.old_at + step.length] if kind.old else b"")
            after.append(new[step.new_at : step.new_at + step.length])
    operations = b"".join(listed)
    planes = (plane for head, (before, after) in contents.items() for plane in _planes(head % GROUP, b"".join(before), b"".join(after)))
    return number(len(operations)) + encode(operations) + b"".join(map(encode, planes))


def _planes(number_of_kind: int, before: bytes, after: bytes) -> list[bytes]:
    """What a kind of operation takes from the delta to make `after` of `before`."""
    kind = KINDS[number_of_kind]
    width = kind.width_bytes
    if not kind.old:
        content = after
    elif kind.bits == 4:
        old_halves, new_halves = np.frombuffer(before, np.uint8), np.frombuffer(after, np.uint8)
        content = ((new_halves - old_halves) & 0xF | ((new_halves >> 4) - (old_halves >> 4) & 0xF) << 4).tobytes()
    elif width == 1:
        content = (np.frombuffer(after, np.uint8) - np.frombuffer(before, np.uint8)).tobytes()
    else:
        differences: NDArray[Any] = (np.frombuffer(after, f"<u{width}") - np.frombuffer(before, f"<u{width}")).view(f"<i{width}")
        content = (differences << 1 ^ differences >> (kind.bits - 1)).tobytes()
    return [content[plane::width] for plane in range(width)]
