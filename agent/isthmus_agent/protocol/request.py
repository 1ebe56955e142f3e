"""From the body of a `:predict` call to arrays.

`instances` is the row form: one entry an example, either the value of the only input or an object with every input.
`inputs` is the column form: a value for the only input, or an object with a value for each. Strings may be
`{"b64": "…"}`.

Numbers take a fast way: numpy reads the nested lists at once. Whatever it cannot vouch for (a wrong type, a wrong
length, strings) is walked element by element, which also finds the error text that the client gets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus_agent.protocol import jsontext
from isthmus_agent.protocol.description import Signature, TensorInfo
from isthmus_agent.protocol.errors import RestError, invalid
from isthmus_agent.protocol.values import Walked, as_array, is_base64_object, read_numbers, walk

DEFAULT_SIGNATURE = "serving_default"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PredictRequest:
    """inputs: one array for each input of the signature, of its dtype (strings: bytes objects). row: `instances` was used."""

    signature_name: str
    inputs: dict[str, Array]
    row: bool


def find_signature(name: str, signatures: Mapping[str, Signature]) -> Signature:
    """Raises RestError (400) where no signature has the name."""
    signature = signatures.get(name)
    if signature is None:
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    return signature


def parse_predict(body: bytes | bytearray, signatures: Mapping[str, Signature] | RestError) -> PredictRequest:
    """Read the body of a `:predict` call.

    Args:
        body: JSON, already decompressed.
        signatures: the model's signatures by name, or why there are none: a body that is no JSON is told first.
            Shapes are not checked: that is for who runs the model.

    Raises:
        RestError: 400 with TensorFlow Serving's text for what is wrong.
    """
    text = jsontext.decode(body)
    document = jsontext.parse(text)
    asked = asked_signature(document)
    if isinstance(signatures, RestError):
        raise signatures
    name = asked or DEFAULT_SIGNATURE
    signature = find_signature(name, signatures)
    if not signature.inputs:
        raise invalid(f"Failed to get input map for signature: {asked or 'DEFAULT'}")
    # numpy takes true for 1, JSON does not: a body with booleans is walked.
    plain = "true" not in text and "false" not in text
    try:
        inputs, row = _inputs(document, signature, plain)
    except RecursionError:
        raise invalid("JSON Value: is nested too deeply") from None
    if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in inputs.values()):
        jsontext.reject_too_big_numbers(text)
    return PredictRequest(name, inputs, row)


def asked_signature(document: dict[str, Any]) -> str:
    """The signature's name in a request; empty for the default one. Raises RestError (400)."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise jsontext.format_error(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return name


def _inputs(document: dict[str, Any], signature: Signature, plain: bool) -> tuple[dict[str, Array], bool]:
    if "instances" in document:
        if "inputs" in document:
            raise jsontext.format_error(document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ")
        instances = document["instances"]
        if not isinstance(instances, list):
            raise jsontext.format_error(document, "Expecting 'instances' to be an list/array")
        if not instances:
            raise jsontext.format_error(document, "No values in 'instances' array")
        return _read_rows(instances, signature, plain) or _walk_rows(instances, signature), True
    if "inputs" in document:
        return _read_columns(document["inputs"], signature, plain), False
    raise invalid("Missing 'inputs' or 'instances' key")


def _read_rows(instances: list[Any], signature: Signature, plain: bool) -> dict[str, Array] | None:
    """The fast way for rows; None where only the walk can tell."""
    if type(instances[0]) is not dict:
        if len(signature.inputs) > 1:
            return None
        columns: dict[str, Any] = dict.fromkeys(signature.inputs, instances)
    else:
        names = signature.input_names
        if not all(type(instance) is dict and instance.keys() == names for instance in instances):
            return None
        columns = {name: [instance[name] for instance in instances] for name in signature.inputs}
    arrays: dict[str, Array] = {}
    for name, info in signature.inputs.items():
        array = read_numbers(columns[name], info.dtype, plain)
        if array is None:
            return None
        arrays[name] = array
    return arrays


def _walk_rows(instances: list[Any], signature: Signature) -> dict[str, Array]:
    """Rows one by one, each of the same shape; objects or plain values, never a mix."""
    if not isinstance(instances[0], dict) and len(signature.inputs) > 1:
        raise invalid("instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map")
    objects = _is_named(instances[0])
    columns: dict[str, list[Walked]] = {name: [] for name in signature.inputs}
    for index, instance in enumerate(instances):
        if _is_named(instance) != objects:
            expected, found = ("object", "list") if objects else ("value/list", "object")
            raise invalid(f"Expecting {expected} but got {found} at item {index} of input list")
        if objects:
            _walk_object(instance, index, signature, columns)
        else:
            name, info = next(iter(signature.inputs.items()))
            _append(instance, info, columns[name], f"Failed to process element: {index} of 'instances' list.")
    return {
        name: as_array([value for row in rows for value in row.values], (len(instances), *rows[0].shape), signature.inputs[name].dtype)
        for name, rows in columns.items()
    }


def _walk_object(instance: dict[str, Any], index: int, signature: Signature, columns: dict[str, list[Walked]]) -> None:
    for name, value in jsontext.pairs_of(instance):
        prefix = f"Failed to process element: {index} key: {name} of 'instances' list."
        if name not in signature.inputs:
            raise invalid(f"{prefix} Error: INVALID_ARGUMENT: JSON object: does not have named input: {name}")
        _append(value, signature.inputs[name], columns[name], prefix)
    if instance.keys() != signature.input_names:
        expected = ",".join(sorted(signature.inputs))
        found = jsontext.show(instance)
        raise invalid(f"Failed to process element: {index} of 'instances' list. JSON object: {found} keys must be equal to: {expected}")


def _append(value: Any, info: TensorInfo, rows: list[Walked], prefix: str) -> None:
    try:
        row = walk(value, info.dtype)
        if rows:
            _check_same(rows[0], row)
    except RestError as error:
        raise invalid(f"{prefix} Error: {error.code}: {error.message}") from None
    rows.append(row)


def _check_same(first: Walked, row: Walked) -> None:
    if len(row.values) != len(first.values):
        raise invalid(f"Expecting tensor size: {len(first.values)} but got: {len(row.values)}")
    if row.shape != first.shape:
        expected, found = (",".join(map(str, shape)) for shape in (first.shape, row.shape))
        raise invalid(f"Expecting shape [{expected}] but got: [{found}]")


def _read_columns(value: Any, signature: Signature, plain: bool) -> dict[str, Array]:
    if not _is_named(value):
        if len(signature.inputs) > 1:
            raise invalid("inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map")
        return {name: _read_column(value, info, plain) for name, info in signature.inputs.items()}
    for name in signature.inputs:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _read_column(value[name], info, plain) for name, info in signature.inputs.items()}


def _read_column(value: Any, info: TensorInfo, plain: bool) -> Array:
    array = read_numbers(value, info.dtype, plain)
    if array is None:
        walked = walk(value, info.dtype)
        array = as_array(walked.values, walked.shape, info.dtype)
    return array


def _is_named(value: Any) -> bool:
    """Whether value is an object with inputs by name, rather than a base64 string."""
    return isinstance(value, dict) and not is_base64_object(value)
