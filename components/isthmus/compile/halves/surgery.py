"""The two halves of a `.tflite` file. Runs in a worker.

Operators, options and constants are taken over as they are, so that the halves compute what the whole does; what a half does not use is
left out of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from isthmus.compile.build.export import SIGNATURE
from isthmus.compile.quantise.flatbuffer import Model, drop_unused_codes, operator_name, read, write
from isthmus.errors import Problem, SourceError
from isthmus.partition.cuts import Cut

_WITH_GRAPHS = frozenset({"IF", "WHILE", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_CASE", "STABLEHLO_COMPOSITE", "STABLEHLO_REDUCE"})
_WITH_GRAPHS_PREFIXES = ("STABLEHLO_REDUCE", "STABLEHLO_SCATTER", "STABLEHLO_SORT", "REDUCE_WINDOW")


@dataclass(frozen=True)
class Halves:
    """head: from the inputs that it reads to `sent`; tail: from `sent` and `passed` to the outputs. All by the names of their signatures:
    inputs and outputs keep theirs, a feature is named `feature_0` and so on."""

    head: bytes
    tail: bytes
    head_inputs: tuple[str, ...]
    sent: tuple[str, ...]
    passed: tuple[str, ...]
    names: Mapping[int, str]


@dataclass(frozen=True)
class _Sides:
    """What goes into and out of the halves of a cut: tensors of the first graph → their names."""

    head: dict[int, str]
    sent: dict[int, str]
    crossing: dict[int, str]
    outputs: dict[int, str]

    @classmethod
    def of(cls, model: Model, cut: Cut, where: str) -> "_Sides":
        """Raises SourceError where the file has no signature of its first graph."""
        signature = next((it for it in model.signatureDefs or [] if it.signatureKey == SIGNATURE.encode() and not it.subgraphIndex), None)
        if signature is None:
            problem = Problem(where, f"its first graph has no signature {SIGNATURE!r}", "inputs and outputs by name", "export it with one")
            raise SourceError([problem])
        inputs = {int(it.tensorIndex): it.name.decode() for it in signature.inputs}
        outputs = {int(it.tensorIndex): it.name.decode() for it in signature.outputs}
        made = [feature for feature in cut.features if not feature.is_input]
        named = {feature.index: inputs[feature.index] for feature in cut.features if feature.is_input}
        free = (name for number in count() if (name := f"feature_{number}") not in inputs.values())
        named |= {feature.index: name for feature, name in zip(made, free, strict=False)}
        graph = model.subgraphs[0]
        read_by_head = {int(tensor) for place in cut.head for tensor in graph.operators[place].inputs}
        head = {tensor: name for tensor, name in inputs.items() if tensor in read_by_head}
        return cls(head, {feature.index: named[feature.index] for feature in made}, named, outputs)


def split(data: bytes, cut: Cut, where: str) -> Halves:
    """The halves of a file. cut: one of `find_cuts` of these bytes.

    Raises SourceError where the file has no signature of its first graph.
    """
    sides = _Sides.of(read(data, where), cut, where)
    return Halves(
        _half(data, where, cut.head, sides.head, sides.sent),
        _half(data, where, cut.tail, sides.crossing, sides.outputs),
        tuple(sides.head.values()),
        tuple(sides.sent.values()),
        tuple(sides.crossing[feature.index] for feature in cut.features if feature.is_input),
        sides.crossing,
    )


def with_heads(data: bytes, heads: Mapping[str, Cut], where: str) -> bytes:
    """The file with the heads of some cuts as further graphs, each under its own signature. Constants lie in it once.

    Args:
        heads: by the names of their signatures.

    Raises SourceError as `split` does.
    """
    whole = read(data, where)
    for name, cut in heads.items():
        sides, graph = _Sides.of(whole, cut, where), read(data, where).subgraphs[0]  # anew: objects are changed in place
        signature = _reduce(graph, cut.head, sides.head, sides.sent)
        signature.signatureKey, signature.subgraphIndex = name.encode(), len(whole.subgraphs)
        whole.subgraphs.append(graph)
        whole.signatureDefs.append(signature)
    return write(whole)


def _half(data: bytes, where: str, operators: Iterable[int], inputs: Mapping[int, str], outputs: Mapping[int, str]) -> bytes:
    """A file of some operators of the first graph. inputs, outputs: its tensors → their names in the signature."""
    model = read(data, where)  # anew: objects are changed in place
    graph = model.subgraphs[0]
    model.signatureDefs = [_reduce(graph, operators, inputs, outputs)]
    if not any(_has_graphs(operator_name(model, operator)) for operator in graph.operators):
        model.subgraphs = [graph]
    drop_unused_codes(model)
    _keep_buffers(model)
    return write(model)


def _reduce(graph: Any, operators: Iterable[int], inputs: Mapping[int, str], outputs: Mapping[int, str]) -> Any:
    """Leaves a graph some of its operators, in place. Returns its signature, as that of a file's first graph."""
    graph.operators = [graph.operators[place] for place in operators]
    tensors = _keep_tensors(graph, (*inputs, *outputs))
    graph.inputs, graph.outputs = ([tensors[tensor] for tensor in side] for side in (inputs, outputs))
    return _signature({tensors[t]: name for t, name in inputs.items()}, {tensors[t]: name for t, name in outputs.items()})


def _has_graphs(name: str) -> bool:
    return name in _WITH_GRAPHS or name.startswith(_WITH_GRAPHS_PREFIXES)


def _keep_tensors(graph: Any, also: Iterable[int]) -> dict[int, int]:
    """Leaves out tensors that no operator names. Returns the new number of each that is left."""
    used = {int(tensor) for operator in graph.operators for side in _sides(operator) for tensor in side if tensor >= 0} | set(also)
    numbers = {old: new for new, old in enumerate(sorted(used))}
    graph.tensors = [graph.tensors[old] for old in sorted(used)]
    for operator in graph.operators:
        operator.inputs, operator.outputs = (
            [numbers.get(int(tensor), -1) for tensor in side] for side in (operator.inputs, operator.outputs)
        )
        if operator.intermediates is not None:
            operator.intermediates = [numbers[int(tensor)] for tensor in operator.intermediates]
    return numbers


def _sides(operator: Any) -> tuple[Any, ...]:
    return operator.inputs, operator.outputs, () if operator.intermediates is None else operator.intermediates


def _keep_buffers(model: Model) -> None:
    """Leaves out buffers without a tensor, and the metadata, which is of the whole. The first stays: it is the empty one by convention."""
    used = sorted({0} | {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors})
    numbers = {old: new for new, old in enumerate(used)}
    model.buffers = [model.buffers[old] for old in used]
    model.metadata, model.metadataBuffer = None, None
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = numbers[tensor.buffer]


def _signature(inputs: Mapping[int, str], outputs: Mapping[int, str]) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
    signature.inputs, signature.outputs = _maps(inputs), _maps(outputs)
    return signature


def _maps(side: Mapping[int, str]) -> list[Any]:
    made = []
    for tensor, name in side.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), tensor
        made.append(entry)
    return made
