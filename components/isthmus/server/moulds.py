"""Messages without their numbers: what one client's calls of Predict, and the replies to them, have in common.

A client sends the same model, signature, names, types and shapes again and again. Where the numbers of each tensor are in
one piece (`tensor_content`, or floats as protobuf packs them), the bytes around them say all the rest. A message with the
same bytes there asks the same of other numbers: it need not be read field by field, nor its reply written so. It is not
believed for that: every byte around the numbers is compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from isthmus.server.tensors import Array, Arrays


@dataclass(frozen=True, slots=True)
class Mould:
    """around: the bytes before, between and after the arrays' numbers. names, dtypes, shapes, counts: of the arrays, in that order.

    starts: where the numbers of each begin in the message.
    """

    around: tuple[bytes, ...]
    names: tuple[str, ...]
    dtypes: tuple[np.dtype[Any], ...]
    shapes: tuple[tuple[int, ...], ...]
    counts: tuple[int, ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, message: bytes, arrays: Mapping[str, Array]) -> Self | None:
        """The mould of a message that has these arrays; None where their numbers are not found in it, each in one piece.

        What is found may be something else that looks alike: the caller has to try it with `changed` arrays, by all CHANGES.
        """
        found = []
        for name, array in arrays.items():
            numbers = b"" if array.dtype.hasobject else array.tobytes()
            start = message.find(numbers)
            if not numbers or start < 0:
                return None
            found.append((start, start + len(numbers), name, array))
        found.sort(key=lambda it: it[0])
        starts, ends = [it[0] for it in found], [0, *(it[1] for it in found)]
        if any(start < end for start, end in zip(starts, ends, strict=False)):
            return None
        around = tuple(message[end:start] for end, start in zip(ends, [*starts, len(message)], strict=True))
        ordered = [array for *_, array in found]
        return cls(
            around,
            tuple(name for *_, name, _ in found),
            tuple(array.dtype for array in ordered),
            tuple(array.shape for array in ordered),
            tuple(array.size for array in ordered),
            tuple(starts),
        )

    def read(self, message: bytes) -> Arrays | None:
        """The arrays of a message of that length; None where it is another kind of message."""
        if not message.startswith(self.around[0]) or not message.endswith(self.around[-1]):
            return None
        arrays, end = {}, len(self.around[0])
        for index, start in enumerate(self.starts):
            if index and message[end:start] != self.around[index]:
                return None
            dtype, count = self.dtypes[index], self.counts[index]
            arrays[self.names[index]] = np.frombuffer(message, dtype, count, start).reshape(self.shapes[index])
            end = start + count * dtype.itemsize
        return arrays

    def write(self, arrays: Mapping[str, Array]) -> bytes | None:
        """A message with these arrays; None where they are of other types or shapes."""
        parts = [self.around[0]]
        for index, name in enumerate(self.names):
            array = arrays[name]
            if array.shape != self.shapes[index] or array.dtype != self.dtypes[index]:
                return None
            parts += (array.tobytes(), self.around[index + 1])
        return b"".join(parts)


# Its lowest bit tells a number from all else; its highest one tells numbers of a fixed length from those that are as long as they are
# large (a byte of 128 or more goes on in the next one).
CHANGES: Final = (0x01, 0x80)


def changed(arrays: Mapping[str, Array], bits: int) -> Arrays:
    """Arrays like these, with these bits of every byte the other way round."""
    found = {}
    for name, array in arrays.items():
        numbers = bytes(byte ^ bits for byte in array.tobytes())
        found[name] = np.frombuffer(numbers, array.dtype).reshape(array.shape)
    return found


def same(first: Mapping[str, Array], second: Mapping[str, Array]) -> bool:
    """Whether both have the same arrays, byte by byte."""
    return first.keys() == second.keys() and all(
        array.dtype == second[name].dtype and array.shape == second[name].shape and array.tobytes() == second[name].tobytes()
        for name, array in first.items()
    )
