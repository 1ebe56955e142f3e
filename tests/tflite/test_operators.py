"""The names of operators are the schema's, and a file's are found without an interpreter."""

import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from tests.tflite.writing import FLOAT32, Tensor, tflite

from isthmus.tflite.operators import BUILTIN, OPERATORS, operators


def test_every_operator_has_the_schemas_name_at_its_code() -> None:
    known = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    assert dict(enumerate(OPERATORS)) == known


def with_codes(*codes: schema.OperatorCodeT) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite([Tensor(FLOAT32, (1,), bytes(4))]), 0))
    model.operatorCodes = list(codes)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def code(new: int = 0, old: int = 0, custom: str | None = None) -> schema.OperatorCodeT:
    found = schema.OperatorCodeT()
    found.builtinCode, found.deprecatedBuiltinCode, found.customCode, found.version = new, old, custom, 1
    return found


@pytest.mark.parametrize(
    ("codes", "names"),
    [
        ((), ()),
        ((code(9, 9), code(25, 25), code(9, 9)), ("FULLY_CONNECTED", "SOFTMAX")),
        ((code(0, 3),), ("CONV_2D",)),  # an old file
        ((code(150, 127),), ("GELU",)),
        ((code(32, 32, "Mine"), code(0, 0)), ("ADD", "Mine")),
        ((code(32, 32),), ("an operator without a name",)),
        ((code(9999, 127),), ("operator 9999",)),
    ],
)
def test_a_files_operators_are_named(codes: tuple[schema.OperatorCodeT, ...], names: tuple[str, ...]) -> None:
    assert operators(with_codes(*codes)) == names


def test_custom_operators_are_none_of_the_interpreters_own() -> None:
    assert "CUSTOM" not in BUILTIN
    assert "SOFTMAX" in BUILTIN
