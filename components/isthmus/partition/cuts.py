"""Where a `.tflite` graph may be cut in two: a head that the device runs, and a tail that the cloud runs.

The file's order of operators is a topological one. A cut after its i-th operator sends what was made up to there, and the inputs, as far
as later operators read them. Operators that compute with constants alone are no layers: each half that needs their result has them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from isthmus.tflite.operators import OPERATORS
from isthmus.tflite.verify import Reader, Table, verify

MOST_FEATURES: Final = 4
"""Tensors that may cross a cut."""
MOST_CUTS: Final = 64
"""Of a model; where it allows more, those with the fewest bytes."""
# Codes of the schema's TensorType → numpy's names. Texts, resources and complex numbers have no form on the wire.
TYPES: Final[Mapping[int, str]] = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8",
}  # fmt: skip
_BYTES: Final[Mapping[str, int]] = {
    "float32": 4, "float16": 2, "int32": 4, "uint8": 1, "int64": 8, "bool": 1, "int16": 2, "int8": 1,
}  # fmt: skip
# What keeps something from one request to the next, or draws lots. Of an operator that is not the interpreter's own nobody knows.
_STATEFUL: Final = frozenset(
    """
    CUSTOM DELEGATE CALL_ONCE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE
    RANDOM_STANDARD_NORMAL RANDOM_UNIFORM MULTINOMIAL STABLEHLO_RNG_BIT_GENERATOR STABLEHLO_CUSTOM_CALL
    """.split()  # noqa: SIM905
)
_CONTROL: Final = frozenset({"IF", "WHILE", "STABLEHLO_WHILE", "STABLEHLO_CASE", "STABLEHLO_COMPOSITE"})


@dataclass(frozen=True)
class Feature:
    """A tensor that crosses a cut. index: of the graph's tensors. dtype: numpy's name. shape: of one request. is_input: of the model."""

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    is_input: bool = False

    @property
    def size_bytes(self) -> int:
        size = _BYTES[self.dtype]
        for length in self.shape:
            size *= length
        return size


@dataclass(frozen=True)
class Cut:
    """One place. layers: how many operators the device runs. layer: the last of them, and `tensor` what it makes.
    head, tail: operators of each half, by their place in the graph; an operator of constants may be in both."""

    layers: int
    layer: str
    tensor: str
    head: tuple[int, ...]
    tail: tuple[int, ...]
    features: tuple[Feature, ...]

    @property
    def size_bytes(self) -> int:
        """What crosses, as it is."""
        return sum(feature.size_bytes for feature in self.features)


@dataclass(frozen=True)
class Found:
    """cuts: in the graph's order. refused: reasons why other places are none → how many. layers: operators that are no constants'."""

    cuts: tuple[Cut, ...]
    refused: Mapping[str, int]
    layers: int


@dataclass(frozen=True)
class _Operator:
    """inputs, outputs: tensors, without those that were left out."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class _Graph:
    """The first graph of a file, which its signature is of."""

    def __init__(self, data: bytes) -> None:
        verify(data)
        self._reader = Reader(data)
        model = self._reader.root()
        self.codes = [max(code["code"], code["deprecated_code"]) for code in model["operator_codes"] or []]
        graph, *others = model["subgraphs"]
        self.tensors: list[Table] = graph["tensors"] or []
        self.inputs = self._reader.numbers(graph["inputs"])
        self.outputs = self._reader.numbers(graph["outputs"])
        self.operators = [self._operator(operator) for operator in graph["operators"] or []]
        self._inner_state = any(self._operator(operator).name in _STATEFUL for other in others for operator in other["operators"] or [])

    def _operator(self, operator: Table) -> _Operator:
        code = self.codes[operator["code_index"]]
        name = OPERATORS[code] if 0 <= code < len(OPERATORS) else "CUSTOM"
        inputs, outputs = (tuple(t for t in self._reader.numbers(operator[side]) if t >= 0) for side in ("inputs", "outputs"))
        return _Operator(name, inputs, outputs)

    def is_stateful(self, operator: _Operator) -> bool:
        if operator.name in _STATEFUL or (operator.name in _CONTROL and self._inner_state):
            return True
        return any(self.tensors[tensor]["is_variable"] for tensor in (*operator.inputs, *operator.outputs))

    def shape(self, tensor: int) -> tuple[int, ...]:
        return self._reader.numbers(self.tensors[tensor]["shape"])

    def feature(self, tensor: int) -> Feature | None:
        """None for what has no form on the wire."""
        dtype = TYPES.get(self.tensors[tensor]["type"])
        name = self.tensors[tensor]["name"] or f"tensor {tensor}"
        return Feature(tensor, name, dtype, self.shape(tensor), tensor in self.inputs) if dtype else None


def find_cuts(data: bytes) -> Found:
    """The places where a file's first graph may be cut, at most MOST_CUTS; neither before its first nor behind its last layer.

    Raises DamagedFileError.
    """
    graph = _Graph(data)
    made_by = {tensor: place for place, operator in enumerate(graph.operators) for tensor in operator.outputs}
    constant = _constant_operators(graph, made_by)
    layers = [place for place in range(len(graph.operators)) if place not in constant]
    batch = {graph.shape(tensor)[:1] for tensor in graph.inputs}
    found: list[Cut] = []
    refused: Counter[str] = Counter()
    for count in range(1, len(layers)):
        head, tail = layers[:count], layers[count:]
        crossing = _crossing(graph, made_by, set(head), tail)
        features = tuple(feature for tensor in crossing if (feature := graph.feature(tensor)) is not None)
        if reason := _refusal(graph, tail, made_by, features=features, crossing=len(crossing), batch=batch):
            refused[reason] += 1
            continue
        last = graph.operators[head[-1]]
        tensor = graph.tensors[last.outputs[0]]["name"] or "" if last.outputs else ""
        halves = [_with_constants(graph, made_by, constant, half) for half in (head, tail)]
        found.append(Cut(count, last.name, tensor, halves[0], halves[1], features))
    if len(found) > MOST_CUTS:
        refused[f"there are {MOST_CUTS} with fewer bytes"] = len(found) - MOST_CUTS
        found = sorted(sorted(found, key=lambda cut: cut.size_bytes)[:MOST_CUTS], key=lambda cut: cut.layers)
    return Found(tuple(found), dict(refused), len(layers))


def inputs_of(data: bytes) -> tuple[Feature, ...]:
    """What is sent where the cloud runs all of it. Raises DamagedFileError, and ValueError for an input that has no form on the wire."""
    graph = _Graph(data)
    features = [graph.feature(tensor) for tensor in graph.inputs]
    if None in features:
        raise ValueError("an input is text, or of another type that is not sent as numbers")
    return tuple(feature for feature in features if feature is not None)


def _constant_operators(graph: _Graph, made_by: Mapping[int, int]) -> frozenset[int]:
    """Operators that read nothing but constants, and what such operators made."""
    found: set[int] = set()
    for place, operator in enumerate(graph.operators):
        given = [tensor for tensor in operator.inputs if tensor in graph.inputs or (tensor in made_by and made_by[tensor] not in found)]
        if operator.inputs and not given and not graph.is_stateful(operator):
            found.add(place)
    return frozenset(found)


def _crossing(graph: _Graph, made_by: Mapping[int, int], head: set[int], tail: list[int]) -> list[int]:
    """Tensors that the tail reads and does not make, in the order of the graph's tensors."""
    read = {tensor for place in tail for tensor in graph.operators[place].inputs}
    return sorted(tensor for tensor in read if tensor in graph.inputs or made_by.get(tensor) in head)


def _with_constants(graph: _Graph, made_by: Mapping[int, int], constant: frozenset[int], half: list[int]) -> tuple[int, ...]:
    """Operators of a half with those of constants that they need."""
    needed, open_places = set(half), list(half)
    while open_places:
        makers = {made_by.get(tensor) for tensor in graph.operators[open_places.pop()].inputs}
        new = {place for place in makers if place in constant and place not in needed and place is not None}
        needed |= new
        open_places += new
    return tuple(sorted(needed))


def _refusal(
    graph: _Graph,
    tail: list[int],
    made_by: Mapping[int, int],
    *,
    features: tuple[Feature, ...],
    crossing: int,
    batch: set[tuple[int, ...]],
) -> str:
    """Why a place is no cut; empty where it is one."""
    if any(graph.is_stateful(graph.operators[place]) for place in tail):
        return "an operator behind it keeps a state, which must stay on the device"
    if any(made_by.get(tensor) not in tail for tensor in graph.outputs):
        return "an output is made before it"
    if len(features) < crossing:
        return "what crosses has no form on the wire"
    if not 0 < crossing <= MOST_FEATURES or all(feature.is_input for feature in features):
        return f"not 1 to {MOST_FEATURES} tensors that the device made cross it" if crossing else "nothing crosses it"
    if len(batch) != 1 or any(feature.shape[:1] not in batch or not feature.shape for feature in features):
        return "a tensor without a batch dimension crosses it"
    return ""
