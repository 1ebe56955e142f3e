"""Our schema beside the one that a generator wrote."""

import ast
import inspect
import re

from ai_edge_litert import schema_py_generated as schema

from isthmus.tflite.schema import SCHEMA, UNIONS


def test_the_schema_follows_all_that_the_generated_reader_follows() -> None:
    """Every field of the installed schema that points to something (vector, text, table) is in ours, with the same size."""
    sizes = {"Int8": 1, "Uint8": 1, "Bool": 1, "Uint16": 2, "Int32": 4, "Uint32": 4, "Float32": 4, "Int64": 8, "Uint64": 8}
    names = {number: name for name, number in vars(schema.BuiltinOptions).items() if isinstance(number, int)}
    names_2 = {number: name for name, number in vars(schema.BuiltinOptions2).items() if isinstance(number, int)}
    details = {number: name for name, number in vars(schema.QuantizationDetails).items() if isinstance(number, int)}
    indices = {number: name for name, number in vars(schema.SparseIndexVector).items() if isinstance(number, int)}
    known = {name: dict(fields.values()) for name, fields in SCHEMA.items()}
    for union, named in (("options", names), ("options_2", names_2), ("details", details), ("indices", indices)):
        known |= {named[number]: fields for number, fields in UNIONS[union].items()}
    checked = 0
    for table in ast.parse(inspect.getsource(schema)).body:
        for method in table.body if isinstance(table, ast.ClassDef) and not table.name.endswith("T") else []:
            text = ast.unparse(method)
            slot = re.search(r"_tab\.Offset\((\d+)\)", text)
            if slot is None or not isinstance(method, ast.FunctionDef) or method.name.endswith(("Length", "IsNone")):
                continue
            number = (int(slot[1]) - 4) // 2
            vector = re.search(r"GetVectorAsNumpy\(.*\.(\w+)Flags", text)
            if vector:
                assert known[table.name][number] == [sizes[vector[1]]], (table.name, method.name)
            elif "_tab.String(" in text:
                assert known[table.name][number] == "text", (table.name, method.name)
            elif "_tab.Indirect(" in text or "_tab.Union(" in text:
                assert isinstance(known[table.name][number], str | list | tuple), (table.name, method.name)
            checked += bool(vector) or "String(" in text or "Indirect(" in text
    assert checked > 60
