"""The serving variant: a SavedModel whose bytes are the same whenever the same model is exported.

TensorFlow's own export differs from run to run in the names of functions and of captured variables (numbered as they
are traced), of look-up tables and of what fills them (numbered too), in fingerprint.pb (it has a random number), and,
through Keras, in the random state of layers such as Dropout, which is exported though no prediction reads it.
"""

import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from isthmus.compile.sources.load import KerasModel, tensor_spec
from isthmus.compile.sources.saved_model import choose_signature, read_graph, signature_of
from isthmus.compile.sources.source import SERVING_SIGNATURE, Source
from isthmus.errors import Problem, SourceError

SIGNATURE = SERVING_SIGNATURE
_ARGUMENT_NAME = "_user_specified_name"
_FUNCTION_NAME = re.compile(r"(__(?:inference|forward|backward)_.*)_(\d+)")
_TABLE_FILLER = re.compile(r"(\^?key_value_init)(\d+)(?![^/:_])")
_SHARED_NAME = "shared_name"


def copy_saved_model(source: Source, directory: Path) -> None:
    """The user's own SavedModel, file by file; only where another signature than serving_default is chosen is that one renamed.

    Raises SourceError.
    """
    for name, path in source.files:
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    saved = read_graph(directory, source.name, "")
    signature = signature_of(saved, source, "")
    if signature != SIGNATURE:
        choose_signature(saved, signature)
        (directory / "saved_model.pb").write_bytes(saved.SerializeToString(deterministic=True))
        (directory / "fingerprint.pb").unlink(missing_ok=True)  # of the file as it was


def export_keras(source: KerasModel, directory: Path, where: str) -> None:
    """Writes the model as a SavedModel with the one signature serving_default. Raises SourceError."""
    import tensorflow as tf

    model: Any = source.model
    specs = [tensor_spec(spec) for spec in source.described.inputs]
    module = tf.Module()
    try:
        function = tf.function(source.called, input_signature=specs, autograph=False).get_concrete_function()
        used = {id(tensor) for tensor in function.captured_inputs}
        module.weights = [variable.value for variable in model.variables if id(variable.value.handle) in used]
        module.tables = [layer.lookup_table for layer in model._flatten_layers() if hasattr(layer, "lookup_table")]
        tf.saved_model.save(module, str(directory), signatures={SIGNATURE: function})
    except (tf.errors.ResourceExhaustedError, OSError):
        raise
    except Exception as error:
        first = str(error).strip().split("\n")[0][:300]
        raise SourceError([Problem(where, f"the model cannot be exported: {type(error).__name__}: {first}")]) from error
    (directory / "fingerprint.pb").unlink(missing_ok=True)
    for folder in sorted(directory.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()  # an empty assets/ would be lost on the way through a store
    make_canonical(directory / "saved_model.pb")


def make_canonical(file: Path) -> None:
    """Renumbers the functions of a saved_model.pb from 0, in the order in which they were traced, and sorts them; renumbers look-up
    tables in the order in which they were made; drops the numbers that stand for names of captured variables."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for meta_graph in saved.meta_graphs:
        functions = meta_graph.graph_def.library.function
        traced = [match for function in functions if (match := _FUNCTION_NAME.fullmatch(function.signature.name))]
        traced.sort(key=lambda match: int(match[2]))
        names = {match[0]: f"{match[1]}_{number}" for number, match in enumerate(traced)}
        _renumber_tables(meta_graph)
        fillers = _in_order(re.findall(rb"key_value_init(\d+)", meta_graph.SerializeToString()))
        renamed = _renamer(names, fillers)
        _rename(meta_graph, renamed)
        ordered = sorted(functions, key=lambda function: function.signature.name)
        for function in functions:
            for arguments in function.arg_attr.values():
                # The name of a captured variable: a number that counts the tensors made so far.
                if _ARGUMENT_NAME in arguments.attr and arguments.attr[_ARGUMENT_NAME].s.isdigit():
                    del arguments.attr[_ARGUMENT_NAME]
        copies = [type(function).FromString(function.SerializeToString(deterministic=True)) for function in ordered]
        del functions[:]
        functions.extend(copies)
    file.write_bytes(saved.SerializeToString(deterministic=True))


def _renamer(names: dict[str, str], fillers: dict[bytes, int]) -> Callable[[str], str]:
    """A text → the same with its new name in it. names: of functions. fillers: new numbers of the operations that fill tables."""
    return lambda text: names.get(text) or _TABLE_FILLER.sub(lambda match: f"{match[1]}{fillers[match[2].encode()]}", text)


def _in_order(numbers: Iterable[bytes]) -> dict[bytes, int]:
    """Counters, as texts → their places when they are sorted by value."""
    return {number: place for place, number in enumerate(sorted(set(numbers), key=int))}


def _renumber_tables(meta_graph: Any) -> None:
    """A table that is made without a name of its own is shared under a counter of everything made before."""
    functions = meta_graph.graph_def.library.function
    nodes = [*meta_graph.graph_def.node, *(node for function in functions for node in function.node_def)]
    shared = [node.attr[_SHARED_NAME] for node in nodes if _SHARED_NAME in node.attr and node.attr[_SHARED_NAME].s.isdigit()]
    places = _in_order(value.s for value in shared)
    for value in shared:
        value.s = b"%d" % places[value.s]


def _rename(message: Message, renamed: Callable[[str], str]) -> None:
    """Replaces every string in the message, keys and values of its maps too, by what renamed makes of it."""
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if _is_map(field):
                _rename_map(message, field, renamed)
            else:
                for child in value if field.is_repeated else [value]:
                    _rename(child, renamed)
        elif field.type == FieldDescriptor.TYPE_STRING:
            if field.is_repeated:
                value[:] = [renamed(item) for item in value]
            else:
                setattr(message, field.name, renamed(value))
        elif field.type == FieldDescriptor.TYPE_BYTES and not field.is_repeated:
            # Some attributes name a function in bytes.
            text = value.decode(errors="replace")
            if renamed(text) != text:
                setattr(message, field.name, renamed(text).encode())


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _rename_map(message: Message, field: FieldDescriptor, renamed: Callable[[str], str]) -> None:
    entries = getattr(message, field.name)
    entry = field.message_type
    of_messages = entry is not None and entry.fields_by_name["value"].type == FieldDescriptor.TYPE_MESSAGE
    if of_messages:
        for child in entries.values():
            _rename(child, renamed)
    changed = (renamed(text) != text for entry in entries.items() for text in entry if isinstance(text, str))
    if not any(changed):
        return
    # All out before any goes in: one function's new name can be another's old one.
    moved = []
    for key, value in entries.items():
        new: Any = value
        if of_messages:
            new = type(value)()
            new.CopyFrom(value)
        elif isinstance(value, str):
            new = renamed(value)
        moved.append((renamed(key) if isinstance(key, str) else key, new))
    entries.clear()
    for key, value in moved:
        if of_messages:
            entries[key].CopyFrom(value)
        else:
            entries[key] = value
