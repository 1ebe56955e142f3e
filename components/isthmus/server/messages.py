"""Messages of TensorFlow Serving's configuration files that its published stubs leave out."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_PACKAGE = "isthmus.serving"
_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {"bool": _Field.TYPE_BOOL, "string": _Field.TYPE_STRING, "int64": _Field.TYPE_INT64}
# Message, and its fields: name, number, type (a message's full name begins with a dot), whether it is a list.
_MESSAGES: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "PrometheusConfig": (("enable", 1, "bool", False), ("path", 2, "string", False)),
    "MonitoringConfig": (("prometheus_config", 1, f".{_PACKAGE}.PrometheusConfig", False),),
    "BatchingParameters": (
        ("max_batch_size", 1, ".google.protobuf.Int64Value", False),
        ("batch_timeout_micros", 2, ".google.protobuf.Int64Value", False),
        ("max_enqueued_batches", 3, ".google.protobuf.Int64Value", False),
        ("num_batch_threads", 4, ".google.protobuf.Int64Value", False),
        ("thread_pool_name", 5, ".google.protobuf.StringValue", False),
        ("allowed_batch_sizes", 6, "int64", True),
        ("pad_variable_length_inputs", 7, "bool", False),
        ("enable_large_batch_splitting", 8, ".google.protobuf.BoolValue", False),
        ("max_execution_batch_size", 9, ".google.protobuf.Int64Value", False),
    ),
}


def message_class(name: str) -> Any:
    """The class of one of these messages: MonitoringConfig or BatchingParameters."""
    file = descriptor_pb2.FileDescriptorProto(name="isthmus/serving.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for message, fields in _MESSAGES.items():
        entry = file.message_type.add(name=message)
        for field, number, kind, many in fields:
            label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
            if kind.startswith("."):
                entry.field.add(name=field, number=number, type=_Field.TYPE_MESSAGE, type_name=kind, label=label)
            else:
                entry.field.add(name=field, number=number, type=_TYPES[kind], label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
