"""What a SavedModel's graph says of itself, before TensorFlow runs any of it: its signatures, and operations that reach out of it.

TensorFlow runs whatever is in the graph, some of it already while the SavedModel is loaded.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from isthmus.compile.sources.source import SERVING_SIGNATURE, Source, signature_problems
from isthmus.errors import Problem, SourceError

SIGNATURES_NODE = "signatures"
SERVING_TAG = "serve"
_READS, _WRITES = "reads files", "writes files"
PRINT_TO_FILE = "PrintV2-to-a-file"
# No prediction needs these, wherever they stand.
DANGEROUS: dict[str, str] = {
    name: what
    for what, names in {
        "runs Python": "PyFunc PyFuncStateless EagerPyFunc",
        _READS: "ReadFile MatchingFiles WholeFileReader WholeFileReaderV2 TextLineReader TextLineReaderV2 TFRecordReader TFRecordReaderV2 "
        "FixedLengthRecordReader FixedLengthRecordReaderV2 IdentityReader IdentityReaderV2 LMDBReader TextLineDataset TFRecordDataset "
        "TFRecordDatasetV2 FixedLengthRecordDataset FixedLengthRecordDatasetV2 CSVDataset CSVDatasetV2 LMDBDataset SqlDataset "
        "ExperimentalSqlDataset MatchingFilesDataset ExperimentalMatchingFilesDataset LoadDataset SnapshotDatasetReader "
        "ListSnapshotChunksDataset RecordInput LoadAndRemapMatrix GenerateVocabRemapping ImmutableConst DecodeProtoV2",
        _WRITES: "WriteFile SaveDataset SaveDatasetV2 SnapshotDataset SnapshotDatasetV2 DatasetToTFRecord ExperimentalDatasetToTFRecord "
        "CacheDataset CacheDatasetV2 CreateSummaryFileWriter CreateSummaryDbWriter WriteSummary WriteGraphSummary DebugIdentity "
        f"DebugIdentityV2 DebugIdentityV3 DebugNanCount DebugNumericSummary DebugNumericSummaryV2 {PRINT_TO_FILE}",
        "talks to the network": "DataServiceDataset DataServiceDatasetV2 DataServiceDatasetV3 DataServiceDatasetV4 RegisterDataset "
        "RegisterDatasetV2 RpcCall RpcClient RpcServer FileSystemSetConfiguration DistributedSave",
        "ends the process": "Abort",
    }.items()
    for name in names.split()
}
# How a SavedModel keeps its own variables: right where it is saved and restored, and nowhere in a prediction.
CHECKPOINT: dict[str, str] = {
    **dict.fromkeys(("Restore", "RestoreSlice", "RestoreV2"), _READS),
    **dict.fromkeys(("Save", "SaveSlices", "SaveV2", "MergeV2Checkpoints"), _WRITES),
}


def read_graph(folder: Path, shown: str, where: str) -> Any:
    """The SavedModel message of a folder. Raises SourceError."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except (DecodeError, OSError) as error:
        raise SourceError([Problem(where, f"saved_model.pb of {shown!r} cannot be read ({error})", "a whole SavedModel")]) from error
    if not saved.meta_graphs:
        raise SourceError([Problem(where, f"saved_model.pb of {shown!r} holds no graph", "a whole SavedModel", "save or copy it again")])
    return saved


def dangerous_operations(saved: Any) -> dict[str, str]:
    """Operations that a prediction has no use for and that reach out of the graph: what each does, by its name."""
    found = {}
    for graph in saved.meta_graphs:
        library = {function.signature.name: function for function in graph.graph_def.library.function}
        nodes = list(graph.graph_def.node)
        everywhere = {_operation(node) for body in [nodes, *(function.node_def for function in library.values())] for node in body}
        found.update({name: what for name, what in DANGEROUS.items() if name in everywhere})
        predicting = set(_reached(graph.signature_def.values(), {node.name: node for node in nodes}, library))
        found.update({name: what for name, what in CHECKPOINT.items() if name in predicting})
    return dict(sorted(found.items()))


def _operation(node: Any) -> str:
    """The operation's name. PrintV2 writes to the console, unless it names a file."""
    return PRINT_TO_FILE if node.op == "PrintV2" and b"://" in node.attr["output_stream"].s else str(node.op)


def _reached(signatures: Iterable[Any], nodes: dict[str, Any], library: dict[str, Any]) -> Iterator[str]:
    """Operations that the signatures' outputs are made of, those of the functions that they call included."""
    waiting = [nodes[name] for signature in signatures for tensor in signature.outputs.values() if (name := _node(tensor.name)) in nodes]
    seen: set[str] = set()
    called: set[str] = set()
    while waiting:
        node = waiting.pop()
        yield node.op
        for name in map(_node, node.input):
            if name in nodes and name not in seen:
                seen.add(name)
                waiting.append(nodes[name])
        functions = [function.name for value in node.attr.values() for function in (value.func, *value.list.func) if function.name]
        for function in (*functions, node.op):  # a function may be called as if it were an operation
            if function in library and function not in called:
                called.add(function)
                # A function's nodes name each other, not the graph's: all of them may run.
                body = library[function].node_def
                waiting += [_alone(inner) for inner in body]


def _alone(node: Any) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    del copy.input[:]
    return copy


def _node(tensor: str) -> str:
    return tensor.lstrip("^").partition(":")[0]


def check_safe(saved: Any, shown: str, where: str) -> None:
    """Raises SourceError where the graph has dangerous operations, naming each."""
    found = dangerous_operations(saved)
    if found:
        raise SourceError(
            [
                Problem(
                    where,
                    f"the SavedModel {shown!r} has operations that reach out of it: "
                    + ", ".join(f"{name} ({what})" for name, what in found.items()),
                    "a graph that only computes",
                    "export it without them, or set allow_unsafe: true where you trust whoever made it",
                )
            ]
        )


def signature_of(saved: Any, source: Source, where: str) -> str:
    """The signature to compile: the one asked for, else serving_default, else the only one. Raises SourceError."""
    tagged = [graph for graph in saved.meta_graphs if SERVING_TAG in graph.meta_info_def.tags]
    if not tagged:
        tags = "; ".join(", ".join(graph.meta_info_def.tags) or "none" for graph in saved.meta_graphs)
        what = f"the SavedModel {source.name!r} has no graph with the tag {SERVING_TAG} (it has: {tags})"
        raise SourceError([Problem(where, what, "a graph to predict with", "save it with tf.saved_model.SERVING")])
    known = tuple(sorted(key for key in tagged[0].signature_def if not key.startswith("__")))
    problems = signature_problems(source.signature, known, source.name, where)
    if problems:
        raise SourceError(problems)
    return source.signature or (SERVING_SIGNATURE if SERVING_SIGNATURE in known else known[0])


def choose_signature(saved: Any, signature: str) -> None:
    """Renames the signature to serving_default, in the graph and in the object graph: so it answers `:predict` calls that name none."""
    for graph in saved.meta_graphs:
        graph.signature_def[SERVING_SIGNATURE].CopyFrom(graph.signature_def[signature])
        del graph.signature_def[signature]
        nodes = graph.object_graph_def.nodes
        for child in nodes[0].children if nodes else ():
            if child.local_name == SIGNATURES_NODE:
                children = nodes[child.node_id].children
                kept = [entry for entry in children if entry.local_name != SERVING_SIGNATURE]
                for entry in kept:
                    entry.local_name = SERVING_SIGNATURE if entry.local_name == signature else entry.local_name
                del children[:]
                children.extend(kept)
