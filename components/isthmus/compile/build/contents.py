"""What a .tflite file consists of, read from the flatbuffer itself: the interpreter shows operators only after it has changed them."""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Contents:
    """operators: names of what the file calls, sorted, custom ones by their own name. weights: constant numbers by their type
    ("FLOAT32", "INT8", "INT4", …). largest_float: name of the largest FLOAT32 constant."""

    operators: tuple[str, ...]
    weights: dict[str, int]
    largest_float: str

    def share(self, type_name: str) -> float:
        """Of all constant numbers, how many are of that type, in [0, 1]. 0 where there are none."""
        return self.weights.get(type_name, 0) / max(sum(self.weights.values()), 1)


@cache
def _names(enumeration: type) -> dict[int, str]:
    return {code: name for name, code in vars(enumeration).items() if isinstance(code, int)}


def read_contents(data: bytes) -> Contents:
    """Of a file that the interpreter has taken: a damaged one may raise anything here."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(data, 0)
    operators = set()
    codes = [model.OperatorCodes(index) for index in range(model.OperatorCodesLength())]
    weights: Counter[str] = Counter()
    largest = (0, "")
    for graph in (model.Subgraphs(index) for index in range(model.SubgraphsLength())):
        for operator in (graph.Operators(index) for index in range(graph.OperatorsLength())):
            code = codes[operator.OpcodeIndex()]
            # Old files have the deprecated code alone.
            name = _names(schema.BuiltinOperator)[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            if name == "CUSTOM":
                name = (code.CustomCode() or b"unnamed").decode(errors="replace")
            operators.add(name)
        for tensor in (graph.Tensors(index) for index in range(graph.TensorsLength())):
            if model.Buffers(tensor.Buffer()).DataLength() == 0:
                continue
            kind, count = _names(schema.TensorType)[tensor.Type()], _elements(tensor)
            weights[kind] += count
            if kind == "FLOAT32":
                largest = max(largest, (count, (tensor.Name() or b"").decode(errors="replace")))
    return Contents(tuple(sorted(operators)), dict(weights), largest[1])


def _elements(tensor: Any) -> int:
    return int(np.prod(tensor.ShapeAsNumpy())) if tensor.ShapeLength() else 1
