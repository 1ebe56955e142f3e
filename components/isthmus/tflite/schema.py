"""The schema of a .tflite file (flatbuffer, TFL3), as far as it points to something that a reader follows.

Field → slot and kind. A kind is the size of a scalar in bytes, [size] of a vector's elements, "text", the name of a table,
[name] of tables, or ("union", slot of its type, table of types). Of what a union holds only vectors and texts are listed;
a type that is not listed has scalars alone.
"""

Kind = int | str | list[int] | list[str] | tuple[str, int, str]
SCHEMA: dict[str, dict[str, tuple[int, Kind]]] = {
    "Model": {
        "version": (0, 4),
        "operator_codes": (1, ["OperatorCode"]),
        "subgraphs": (2, ["SubGraph"]),
        "description": (3, "text"),
        "buffers": (4, ["Buffer"]),
        "metadata_buffer": (5, [4]),
        "metadata": (6, ["Metadata"]),
        "signatures": (7, ["SignatureDef"]),
        "external_buffer_groups": (8, ["ExternalBufferGroup"]),
        "external_buffers": (9, ["ExternalBuffer"]),
    },
    "OperatorCode": {"deprecated_code": (0, 1), "custom_code": (1, "text"), "version": (2, 4), "code": (3, 4)},
    "SubGraph": {
        "tensors": (0, ["Tensor"]),
        "inputs": (1, [4]),
        "outputs": (2, [4]),
        "operators": (3, ["Operator"]),
        "name": (4, "text"),
    },
    "Tensor": {
        "shape": (0, [4]),
        "type": (1, 1),
        "buffer": (2, 4),
        "name": (3, "text"),
        "quantization": (4, "QuantizationParameters"),
        "is_variable": (5, 1),
        "sparsity": (6, "SparsityParameters"),
        "shape_signature": (7, [4]),
        "variant_tensors": (9, ["VariantSubType"]),
        "external_buffer": (10, 4),
    },
    "QuantizationParameters": {
        "min": (0, [4]),
        "max": (1, [4]),
        "scale": (2, [4]),
        "zero_point": (3, [8]),
        "details_type": (4, 1),
        "details": (5, ("union", 4, "details")),
        "quantized_dimension": (6, 4),
    },
    "SparsityParameters": {"traversal_order": (0, [4]), "block_map": (1, [4]), "dimensions": (2, ["DimensionMetadata"])},
    "DimensionMetadata": {
        "format": (0, 1),
        "dense_size": (1, 4),
        "segments_type": (2, 1),
        "segments": (3, ("union", 2, "indices")),
        "indices_type": (4, 1),
        "indices": (5, ("union", 4, "indices")),
    },
    "VariantSubType": {"shape": (0, [4])},
    "Operator": {
        "code_index": (0, 4),
        "inputs": (1, [4]),
        "outputs": (2, [4]),
        "options_type": (3, 1),
        "options": (4, ("union", 3, "options")),
        "custom_options": (5, [1]),
        "mutating_inputs": (7, [1]),
        "intermediates": (8, [4]),
        "large_options_offset": (9, 8),
        "large_options_size": (10, 8),
        "options_2_type": (11, 1),
        "options_2": (12, ("union", 11, "options_2")),
    },
    "Buffer": {"data": (0, [1]), "offset": (1, 8), "size": (2, 8)},
    "ExternalBufferGroup": {"name": (0, "text")},
    "ExternalBuffer": {"packing": (4, "text")},
    "Metadata": {"name": (0, "text"), "buffer": (1, 4)},
    "TensorMap": {"name": (0, "text"), "tensor": (1, 4)},
    "SignatureDef": {"inputs": (0, ["TensorMap"]), "outputs": (1, ["TensorMap"]), "key": (2, "text"), "subgraph": (4, 4)},
}

_WIDE = [8]
UNIONS: dict[str, dict[int, dict[int, Kind]]] = {
    "details": {1: {0: [1]}, 2: {3: [4]}, 3: {3: [4]}},  # custom, blockwise, multi-axis quantisation
    "indices": {1: {0: [4]}, 2: {0: [2]}, 3: {0: [1]}},  # vectors of int32, uint16, uint8
    "options": {
        3: {1: [4], 2: [4]},  # CONCAT_EMBEDDINGS
        8: {5: [1]},  # FULLY_CONNECTED
        17: {0: [4]},  # RESHAPE
        30: {0: [4]},  # SQUEEZE
        111: {0: "text", 1: "text"},  # VAR_HANDLE
        115: {0: [4]},  # BUCKETIZE
    },
    "options_2": {  # StableHLO's
        2: {0: _WIDE},  # BROADCAST_IN_DIM
        3: dict.fromkeys((0, 1, 2), _WIDE),  # SLICE
        4: {**dict.fromkeys((0, 1, 2, 3, 7, 10, 13), _WIDE), 4: [1], 16: [4]},  # CONVOLUTION
        5: {0: "text", 2: "text", 4: [4], 5: [1]},  # CUSTOM_CALL
        6: {0: _WIDE},  # REDUCE
        7: dict.fromkeys((1, 2, 3), _WIDE),  # SCATTER
        9: {0: _WIDE},  # DYNAMIC_SLICE
        10: dict.fromkeys((0, 1, 2), _WIDE),  # PAD
        12: {**dict.fromkeys((0, 1, 2, 3), _WIDE), 4: [4]},  # DOT_GENERAL
        13: dict.fromkeys((0, 1, 2, 3, 4), _WIDE),  # REDUCE_WINDOW
        16: dict.fromkeys((0, 1, 2, 4), _WIDE),  # GATHER
        17: {0: _WIDE},  # TRANSPOSE
        21: {0: "text", 2: [1]},  # COMPOSITE
        23: {0: [4]},  # CASE
    },
}
# Bits of one element, by the number of the tensor's type; texts, resources and variants have no fixed size.
_TYPES_OF_BITS = {2: (19,), 4: (17, 20), 8: (3, 6, 9, 21, 22), 16: (1, 7, 16, 18), 32: (0, 2, 15), 64: (4, 8, 10, 12), 128: (11,)}
TYPE_BITS = {kind: bits for bits, kinds in _TYPES_OF_BITS.items() for kind in kinds}
TEXT = 5
OPEN_TYPES = (TEXT, 13, 14)
