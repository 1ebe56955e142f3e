"""Ready .tflite files: the check that no damaged one passes, and what a sound one becomes.

The interpreter runs in a process of its own here, as it does in a worker: what the check lets through may still end it.
"""

import ast
import contextlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.compile import memory
from isthmus.compile.sources.source import Source, find_source
from isthmus.compile.sources.tflite import load_tflite, ready_model
from isthmus.errors import SourceError
from isthmus.tflite.schema import SCHEMA, UNIONS
from isthmus.tflite.verify import DamagedFileError, verify

flatbuffers = pytest.importorskip("flatbuffers")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffer_utils = pytest.importorskip("ai_edge_litert.tools.flatbuffer_utils")
pytestmark = pytest.mark.slow
DIGITS = Path(__file__).parents[3] / "models" / "digits"
WHERE = "digits.model"
CONVERT = """
import sys
import numpy as np, keras, tensorflow as tf
source, folder = sys.argv[1:]
digits = keras.saving.load_model(source + "/model.keras")
images = np.load(source + "/evaluation.npz")["x"].astype(np.float32)
digits.export(folder + "/digits", verbose=False)
converter = tf.lite.TFLiteConverter.from_saved_model(folder + "/digits")
open(folder + "/digits.tflite", "wb").write(converter.convert())
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([image[None]] for image in images[:50])
converter.inference_input_type = converter.inference_output_type = tf.uint8
open(folder + "/quantised.tflite", "wb").write(converter.convert())
module = tf.Module()
module.both = tf.Variable(np.eye(3, dtype=np.float32) * 2)
def signature(f): return tf.function(f, input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")]).get_concrete_function()
signatures = {"double": signature(lambda x: {"double": x @ module.both}), "half": signature(lambda x: {"half": x / 2})}
tf.saved_model.save(module, folder + "/two", signatures=signatures)
converter = tf.lite.TFLiteConverter.from_saved_model(folder + "/two", signature_keys=list(signatures))
open(folder + "/two.tflite", "wb").write(converter.convert())
"""
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
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digits.tflite and quantised.tflite (the trained model), two.tflite (two signatures), old.tflite (as converters wrote them once)."""
    folder = tmp_path_factory.mktemp("tflite")
    subprocess.run([sys.executable, "-c", CONVERT, str(DIGITS), str(folder)], check=True, capture_output=True, timeout=280)
    model = flatbuffer_utils.read_model(str(folder / "digits.tflite"))
    for code in model.operatorCodes:
        assert code.builtinCode == code.deprecatedBuiltinCode
        code.builtinCode = 0
    model.signatureDefs = None
    flatbuffer_utils.write_model(model, str(folder / "old.tflite"))
    return folder


def _found(name: str, base: Path, **options: Any) -> Source:
    source, problems = find_source(name, None, base, "digits", **options)
    assert source is not None, problems
    return source


def _accuracy(source: Source, held_out: Any) -> float:
    model = load_tflite(source, WHERE)
    (given_name,), (name,) = [spec.name for spec in model.inputs], [spec.name for spec in model.outputs]
    images = held_out["x"].astype(np.float32)
    if model.inputs[0].dtype == "uint8":
        images = np.round(images * 255).astype(np.uint8)
    answers = [model.run({given_name: image[None]})[name].argmax() for image in images]
    return float((np.array(answers) == held_out["y"]).mean())


@pytest.mark.parametrize("name", ["digits.tflite", "quantised.tflite", "old.tflite"])
def test_a_ready_file_answers_as_the_model_it_was_made_of(files: Path, name: str) -> None:
    with np.load(DIGITS / "evaluation.npz") as held_out:
        assert _accuracy(_found(name, files), dict(held_out)) > 0.97


def test_what_a_file_takes_and_gives_is_described(files: Path) -> None:
    model = load_tflite(_found("digits.tflite", files), WHERE)
    assert [(spec.name, spec.dtype, spec.shape) for spec in model.inputs] == [("image", "float32", (-1, 8, 8, 1))]
    assert [(spec.name, spec.shape) for spec in model.outputs] == [("output_0", (-1, 10))]
    quantised = load_tflite(_found("quantised.tflite", files), WHERE)
    assert [spec.dtype for spec in (*quantised.inputs, *quantised.outputs)] == ["uint8", "uint8"]


def test_a_whole_file_is_shipped_as_it_is(files: Path) -> None:
    assert ready_model(_found("digits.tflite", files), WHERE) == (files / "digits.tflite").read_bytes()


def test_a_folder_may_hold_the_file_and_its_evaluation_data(files: Path, tmp_path: Path) -> None:
    for source, name in ((files / "digits.tflite", "model.tflite"), (DIGITS / "evaluation.npz", "evaluation.npz")):
        (tmp_path / name).write_bytes(source.read_bytes())
    assert _found(".", tmp_path).evaluation == tmp_path / "." / "evaluation.npz"


def test_an_old_file_gets_what_tools_read_today(files: Path) -> None:
    from litert_quantizer import Quantizer, recipe

    def quantised(data: bytes) -> bytes:
        quantizer = Quantizer(data)
        quantizer.load_quantization_recipe(recipe.dynamic_wi8_afp32())
        return bytes(quantizer.quantize().quantized_model)

    old = (files / "old.tflite").read_bytes()
    assert verify(old).old_codes
    assert len(quantised(old)) > 0.9 * len(old)  # without a word, as its codes mean nothing to the quantiser
    ready = ready_model(_found("old.tflite", files), WHERE)
    assert verify(ready).signatures == ("serving_default",)
    assert not verify(ready).old_codes
    assert len(quantised(ready)) < 0.35 * len(old)
    assert ready == ready_model(_found("old.tflite", files), WHERE)


@pytest.mark.parametrize(("signature", "factor"), [("double", 2.0), ("half", 0.5)])
def test_the_signature_that_is_chosen_answers_as_serving_default(files: Path, signature: str, factor: float) -> None:
    source = _found("two.tflite", files, signature=signature)
    assert verify(ready_model(source, WHERE)).signatures.count("serving_default") == 1
    answers = load_tflite(source, WHERE).run({"x": np.array([[1, 2, 4]], np.float32)})
    np.testing.assert_allclose(answers[signature], np.array([[1, 2, 4]]) * factor)


@pytest.mark.parametrize("signature", [None, "third"])
def test_a_signature_that_is_not_there_lists_those_that_are(files: Path, signature: str | None) -> None:
    source, (problem,) = find_source("two.tflite", None, files, "digits", signature=signature)
    assert source is None
    assert "(it has: double, half)" in problem.what
    with pytest.raises(SourceError, match="it has: double, half"):
        ready_model(replace(_found("two.tflite", files, signature="half"), signature=signature), WHERE)


def test_a_file_too_large_for_memory_is_told_before_it_is_read(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _found("digits.tflite", files)
    monkeypatch.setattr(memory, "available_bytes", lambda: memory.BASE_BYTES)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(SourceError, match="of memory"):
        load_tflite(source, WHERE)


def test_a_file_that_changed_after_the_check_is_told(files: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes((files / "digits.tflite").read_bytes())
    source = _found("model.tflite", tmp_path)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(SourceError, match=r"is not a sound \.tflite file"):
        load_tflite(source, WHERE)


def test_operators_that_devices_lack_are_named(files: Path, tmp_path: Path) -> None:
    model = flatbuffer_utils.read_model(str(files / "digits.tflite"))
    code = model.operatorCodes[0]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, "FlexMagic"
    flatbuffer_utils.write_model(model, str(tmp_path / "model.tflite"))
    with pytest.raises(SourceError, match="FlexMagic"):
        load_tflite(_found("model.tflite", tmp_path), WHERE)


# What the check finds


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
