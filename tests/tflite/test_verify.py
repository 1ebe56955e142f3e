"""The check that no damaged .tflite file passes.

The interpreter runs in a process of its own here, as it does in a worker: what the check lets through may still end it.
"""

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tflite import converted

from isthmus.tflite.verify import DamagedFileError, verify

pytestmark = pytest.mark.slow
# Prints a file's name before it touches it: the last name is the one that ended the process.
RUN = """
import sys
from ai_edge_litert.interpreter import Interpreter
for line in sys.stdin:
    print(line.strip(), flush=True)
    try:
        interpreter = Interpreter(model_content=open(line.strip(), "rb").read(), num_threads=1)
        interpreter.allocate_tensors()
        interpreter.invoke()
    except (ValueError, RuntimeError):
        pass
print("done", flush=True)
"""


@pytest.fixture(scope="session")
def files(once: Callable[..., tuple[Path, None]]) -> Path:
    return once(*converted.FILES)[0]


def _operator(model: Any, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(model.subgraphs[0].operators[1], name, value)


def _constant(model: Any) -> Any:
    return next(
        tensor
        for tensor in model.subgraphs[0].tensors
        if tensor.buffer and model.buffers[tensor.buffer].data is not None and len(tensor.shape) == 4
    )


def _swap(model: Any) -> None:
    operators = model.subgraphs[0].operators
    operators[0], operators[2] = operators[2], operators[0]


DAMAGE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "another version": (lambda m: setattr(m, "version", 4), "version 4"),
    "no graph": (lambda m: setattr(m, "subgraphs", []), "no graph"),
    "no such operator": (lambda m: _operator(m, opcodeIndex=99), "the code of operator 1 is number 99"),
    "no such input": (lambda m: _operator(m, inputs=[10**6]), "a tensor of operator 1 is number 1000000"),
    "a negative output": (lambda m: _operator(m, outputs=[-1]), "a tensor of operator 1 is number -1"),
    "no such buffer": (lambda m: setattr(_constant(m), "buffer", 5000), "is number 5000"),
    "fewer weights than the shape": (lambda m: setattr(_constant(m), "shape", [64, 64, 64, 64]), "bytes and the shape of"),
    "a negative size": (lambda m: setattr(_constant(m), "shape", [-4, 1, 1, 1]), "impossible shape"),
    "an unknown type": (lambda m: setattr(_constant(m), "type", 77), "unknown type 77"),
    "operators out of order": (_swap, "reads a tensor that nothing has made"),
    "writes a constant": (lambda m: _operator(m, outputs=[m.subgraphs[0].tensors.index(_constant(m))]), "writes into a constant"),
    "a signature of no graph": (lambda m: setattr(m.signatureDefs[0], "subgraphIndex", 3), "a signature's graph is number 3"),
    "a signature of no tensor": (lambda m: setattr(m.signatureDefs[0].inputs[0], "tensorIndex", 900), "a signature's tensor is number 900"),
    "an output that nothing makes": (lambda m: m.subgraphs[0].operators.pop(), "nothing makes one of its outputs"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_graph_that_does_not_hold_together_is_refused(files: Path, damage: str) -> None:
    change, said = DAMAGE[damage]
    model = flatbuffer_utils.read_model(str(files / "digits.tflite"))
    change(model)
    with pytest.raises(DamagedFileError, match=said):
        verify(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))


def test_sound_files_pass(files: Path) -> None:
    for file in files.glob("*.tflite"):
        assert verify(file.read_bytes()).subgraphs >= 1


def _mutants(content: bytes) -> st.SearchStrategy[bytes]:
    """Damage where it matters: the tables, which the file begins and ends with; and files that end too early or go on too long."""
    places = st.integers(0, min(len(content), 3000) - 1) | st.integers(max(len(content) - 9000, 0), len(content) - 1)

    def changed(edits: list[tuple[int, int]], end: int, tail: bytes) -> bytes:
        data = bytearray(content)
        for place, value in edits:
            data[place] = value
        return bytes(data[:end]) + tail

    ends = st.just(len(content)) | st.integers(0, len(content))
    return st.builds(changed, st.lists(st.tuples(places, st.integers(0, 255)), max_size=12), ends, st.binary(max_size=16))


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_stops_the_check(files: Path, data: st.DataObject) -> None:
    content = (files / data.draw(st.sampled_from(["digits.tflite", "quantised.tflite", "old.tflite", "two.tflite"]))).read_bytes()
    with contextlib.suppress(DamagedFileError):
        verify(data.draw(_mutants(content)))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400))
def test_no_bytes_stop_the_check(content: bytes) -> None:
    for start in (b"", b"\x1c\0\0\0TFL3"):
        with pytest.raises(DamagedFileError):
            verify(start + content)


def test_a_small_file_cannot_ask_for_much_work() -> None:
    """One operator with many inputs, named by a graph again and again: 120 kB that would be read for minutes."""
    builder = flatbuffers.Builder(1024)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [-1] * 10_000, []
    operator_at = operator.Pack(builder)
    schema.SubGraphStartOperatorsVector(builder, 20_000)
    for _ in range(20_000):
        builder.PrependUOffsetTRelative(operator_at)
    operators_at = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddOperators(builder, operators_at)
    graph_at = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(graph_at)
    graphs_at = builder.EndVector()
    code_at = schema.OperatorCodeT().Pack(builder)
    schema.ModelStartOperatorCodesVector(builder, 1)
    builder.PrependUOffsetTRelative(code_at)
    codes_at = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, graphs_at)
    schema.ModelAddOperatorCodes(builder, codes_at)
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
    data = bytes(builder.Output())
    assert len(data) < 130_000
    with pytest.raises(DamagedFileError, match="name more than"):
        verify(data)


def _damaged_and_passed(files: Path, folder: Path, count: int) -> list[Path]:
    """Damaged files that the check lets through, by a generator with a fixed seed."""
    generator, found = np.random.default_rng(11), []
    contents = [(files / name).read_bytes() for name in ("digits.tflite", "quantised.tflite", "two.tflite")]
    while len(found) < count:
        data = bytearray(contents[len(found) % len(contents)])
        for _ in range(generator.integers(1, 6)):
            place = generator.integers(0, 1500) if generator.random() < 0.5 else len(data) - 1 - generator.integers(0, min(8000, len(data)))
            data[min(place, len(data) - 1)] = generator.choice([0, 1, 2, 127, 128, 255, generator.integers(0, 256)])
        with contextlib.suppress(DamagedFileError):
            verify(bytes(data))
            found.append(folder / f"{len(found)}.tflite")
            found[-1].write_bytes(data)
    return found


def _crashes(found: list[Path]) -> int:
    crashed, rest = 0, [str(path) for path in found]
    while rest:
        result = subprocess.run(
            [sys.executable, "-c", RUN], input="\n".join(rest), capture_output=True, text=True, timeout=240, check=False
        )
        last = result.stdout.split()[-1]
        if last == "done":
            break
        assert result.returncode < 0, result.stderr  # a signal, not an error of ours
        crashed, rest = crashed + 1, rest[rest.index(last) + 1 :]
    return crashed


def test_a_file_that_ends_the_interpreter_is_refused(files: Path, tmp_path: Path) -> None:
    model = flatbuffer_utils.read_model(str(files / "two.tflite"))
    model.subgraphs = model.signatureDefs = None
    file = tmp_path / "model.tflite"
    file.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    assert _crashes([file]) == 1
    with pytest.raises(DamagedFileError, match="it has no graph"):
        verify(file.read_bytes())


def test_what_the_check_lets_through_does_not_end_the_interpreter(files: Path, tmp_path: Path) -> None:
    assert _crashes(_damaged_and_passed(files, tmp_path, 60)) == 0
