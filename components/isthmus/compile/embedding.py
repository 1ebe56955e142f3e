"""What a layer of a `.tflite` file makes of its input: the head of a cut (`isthmus.partition`), run as a file of its own.

As a program (`python -m isthmus.compile.embedding FILE INPUT OUTPUT VIEWS.npz ANSWERS.npz LAYER WIDTH`; OUTPUT is not looked at): writes
ANSWERS.npz and prints {"layer": its number as `isthmus partition` counts them, "name": its operator}, or prints {"refused": text} or
{"problem": {"what": text, "expected": text}}. LAYER: `auto` or a number. WIDTH: numbers in an answer of the model.
"""

import os
import sys
from math import prod
from pathlib import Path
from typing import Any, Final

from isthmus.compile.answering import answer, asked_of
from isthmus.compile.halves.surgery import split
from isthmus.errors import Problem, SourceError
from isthmus.partition.cuts import Cut, find_cuts
from isthmus.tflite.verify import DamagedFileError

MOST_FEATURES: Final = 4096
"""Numbers of one embedding."""
LAYER_EXPECTED: Final = "a layer behind which one tensor of numbers crosses, as `isthmus partition` counts them"


def embedded(data: bytes, layer: int | None, width: int, where: str) -> tuple[bytes, str, Cut]:
    """The file that ends with a layer, the name of its output, and the cut.

    Args:
        data: of a file that was verified.
        layer: as `isthmus partition` counts them; None: the last that is not as wide as the answer, which is the last hidden one.
        width: numbers in an answer.

    Raises:
        SourceError: the file is damaged, or has no such layer.
    """
    cuts = [cut for cut in find_cuts(data).cuts if _is_embedding(cut)]
    found = [cut for cut in cuts if _size(cut) != width] if layer is None else [cut for cut in cuts if cut.layers == layer]
    if not found:
        what = "no layer can be an embedding" if layer is None else f"layer {layer} cannot be an embedding"
        there = ", ".join(str(cut.layers) for cut in cuts) or "none"
        raise SourceError([Problem(where, what, f"{LAYER_EXPECTED}; here {there}")])
    halves = split(data, found[-1], where)
    return halves.head, halves.sent[0], found[-1]


def _is_embedding(cut: Cut) -> bool:
    return len(cut.features) == 1 and not cut.features[0].is_input and 1 <= _size(cut) <= MOST_FEATURES


def _size(cut: Cut) -> int:
    """Numbers that cross for one example."""
    return prod(cut.features[0].shape[1:])


def main(file: str, input_name: str, views: str, answers: str, *of_layer: str) -> dict[str, Any]:
    """of_layer: LAYER and WIDTH."""
    layer, width = of_layer
    try:
        head, output_name, cut = embedded(Path(file).read_bytes(), None if layer == "auto" else int(layer), int(width), "")
    except SourceError as error:
        return {"problem": {"what": error.problems[0].what, "expected": error.problems[0].expected}}
    except DamagedFileError as error:
        return {"refused": str(error)}
    return {"layer": cut.layers, "name": cut.layer} | asked_of(head, input_name, output_name, views, answers)


if __name__ == "__main__":
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand among the answer
    file, input_name, _, *others = sys.argv[1:]
    answer(main(file, input_name, *others), channel)
