"""Whether the time that a signature takes follows from the shapes of its inputs alone.

A call of such a signature that took a millisecond will take about a millisecond again with the same shapes, whatever
the values are. Loops, parsers, decoders and everything that takes a shape from a value are not steady: a single number
may keep them busy for minutes.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

_STEADY_NAMES = (
    "NoOp Const Placeholder PlaceholderWithDefault Identity IdentityN StopGradient PreventGradient Snapshot VarHandleOp ReadVariableOp "
    "VariableV2 Variable _Arg _Retval Cast Bitcast Shape ShapeN Size Rank Reshape Squeeze ExpandDims Pack Unpack Concat ConcatV2 "
    "StridedSlice Slice Split SplitV Transpose Add AddV2 AddN Sub Mul MulNoNan RealDiv Div DivNoNan Maximum Minimum Neg Abs Sign "
    "Reciprocal Exp Expm1 Log Log1p Sqrt Rsqrt Square SquaredDifference Pow Sin Cos Tan Tanh Sinh Cosh Asin Acos Atan Atan2 Erf Erfc "
    "Sigmoid Relu Relu6 LeakyRelu Elu Selu Softplus Softsign Softmax LogSoftmax Floor Ceil Round Rint ClipByValue Sum Mean Max Min Prod "
    "All Any ArgMax ArgMin MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd BiasAddV1 Conv2D Conv3D DepthwiseConv2dNative MaxPool "
    "MaxPoolV2 MaxPool3D AvgPool AvgPool3D FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 L2Loss LRN Gather GatherV2 ResourceGather "
    "Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr LogicalNot Select SelectV2 ZerosLike OnesLike IsNan IsInf "
    "IsFinite FakeQuantWithMinMaxVars FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVarsPerChannel _FusedMatMul _FusedConv2D Assert"
)
_STEADY = frozenset(_STEADY_NAMES.split())
# Steady where these inputs (by position) are constants of the graph.
_SHAPED_BY: Mapping[str, tuple[int, ...]] = {
    "Pad": (1,),
    "PadV2": (1,),
    "MirrorPad": (1,),
    "Tile": (1,),
    "BroadcastTo": (1,),
    "Fill": (0,),
    "Range": (0, 1, 2),
    "OneHot": (1,),
    "ResizeBilinear": (1,),
    "ResizeNearestNeighbor": (1,),
    "TopKV2": (1,),
}
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


def steady(graph_def: Any, tensor_names: Iterable[str]) -> bool:
    """Whether everything that the tensors are computed from is steady.

    Args:
        graph_def: a GraphDef with its functions.
        tensor_names: as in a signature, such as `StatefulPartitionedCall:0`.
    """
    nodes = {node.name: node for node in graph_def.node}
    functions = {function.signature.name: function for function in graph_def.library.function}
    checked: set[str] = set()

    def function_steady(name: str) -> bool:
        if name in checked:
            return True
        checked.add(name)
        function = functions.get(name)
        if function is None:
            return False
        body = {node.name: node for node in function.node_def}
        return all(_node_steady(node, body, function_steady) for node in function.node_def)

    waiting, seen = [_node_name(name) for name in tensor_names], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        node = nodes.get(name)
        if node is None or not _node_steady(node, nodes, function_steady):
            return False
        waiting.extend(_node_name(source) for source in node.input)
    return True


def _node_steady(node: Any, nodes: Mapping[str, Any], function_steady: Callable[[str], bool]) -> bool:
    if node.op in _CALLS:
        return function_steady(node.attr["f"].func.name)
    positions = _SHAPED_BY.get(node.op)
    if positions is None:
        return node.op in _STEADY
    sources = (nodes.get(_node_name(node.input[position])) for position in positions if position < len(node.input))
    return all(source is not None and source.op == "Const" for source in sources)


def _node_name(tensor_name: str) -> str:
    return tensor_name.removeprefix("^").partition(":")[0]
