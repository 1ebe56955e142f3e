"""How far the answers of two releases to the same request lie apart. Pure.

Takes replies of TensorFlow Serving's `:predict`, in row form (`predictions`) or column form (`outputs`), one output or several,
strings also as {"b64": …}, NaN and Infinity as numbers. Each example of the batch is one comparison.

What counts as a change of an example:
- whole numbers, booleans and strings: any difference;
- floats, two or more along the last axis: another place of the largest one (a classifier's answer), unless `kind` is "values";
- other floats: ‖canary − stable‖ > VALUE_TOLERANCE · ‖stable‖.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.canary.drift import Answer, Drift, Kind

VALUE_TOLERANCE = 0.05
"""Relative distance (L2) up to which two answers in floats are the same."""

Array = NDArray[Any]


def probe_body(golden: str) -> str:
    """The predict request in a release's golden.json, all examples at once: what a gate asks both releases."""
    content = json.loads(golden)
    return json.dumps({"signature_name": content["signature"], "inputs": content["inputs"]}, separators=(",", ":"))


def compare(stable: Answer, canary: Answer, kind: Kind = "classes") -> Drift:
    """The two answers to one probe. A canary that refuses it, or answers it with NaN or infinity, is at fault."""
    expected, found = _outputs(stable), _outputs(canary)
    if found is None:
        both = "" if expected is not None else ", and so does the stable release"
        return Drift(1, 1, (f"the canary refuses a probe{both}: {_refusal(canary)}",))
    faults = tuple(
        f"the canary answers a probe with {_odd_number(values)} in {name!r}" for name, values in found.items() if _is_odd(values)
    )
    if expected is None:
        return Drift(1, 1, faults, "the stable release refuses a probe that the canary answers")
    batched = _is_batched(expected)
    examples = len(next(iter(expected.values()))) if batched else 1
    if faults:
        return Drift(examples, examples, faults)
    mismatch = _mismatch(expected, found)
    if mismatch:
        return Drift(examples, examples, (), mismatch)
    changed: NDArray[np.bool_] = np.zeros(examples, dtype=bool)
    for name, values in expected.items():
        rows, others = (values, found[name]) if batched else (values[None], found[name][None])
        changed |= _changes(rows, others, kind)
    where = np.flatnonzero(changed)
    example = _describe(int(where[0]), expected, found, batched) if len(where) else ""
    return Drift(examples, int(changed.sum()), (), example)


def _outputs(answer: Answer) -> dict[str, Array] | None:
    """Arrays by output name; None where the reply is no answer. A single output is named by the empty string."""
    if answer.status != 200:
        return None
    try:
        reply = json.loads(answer.body.decode("utf-8", "surrogateescape"))
    except ValueError:
        return None
    if not isinstance(reply, dict):
        return None
    if "predictions" in reply:
        return _by_column(reply["predictions"])
    if "outputs" not in reply:
        return None
    outputs = reply["outputs"]
    return {name: _array(values) for name, values in outputs.items()} if _is_named(outputs) else {"": _array(outputs)}


def _by_column(rows: Any) -> dict[str, Array]:
    if isinstance(rows, list) and rows and all(_is_named(row) for row in rows):
        names = sorted({name for row in rows for name in row})
        return {name: _array([row.get(name) for row in rows]) for name in names}
    return {"": _array(rows)}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not (set(value) == {"b64"} and isinstance(value["b64"], str))


def _array(values: Any) -> Array:
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        return np.asarray(_texts(values), dtype=object)
    return array if array.dtype.kind in "biuf" else np.asarray(_texts(values), dtype=object)


def _texts(values: Any) -> Any:
    """Anything that is not plain numbers, as one text for each example."""
    if isinstance(values, list):
        return [json.dumps(value, sort_keys=True) for value in values]
    return json.dumps(values, sort_keys=True)


def _is_odd(values: Array) -> bool:
    return values.dtype.kind == "f" and not bool(np.isfinite(values).all())


def _odd_number(values: Array) -> str:
    return "NaN" if np.isnan(values).any() else "infinity"


def _is_batched(outputs: Mapping[str, Array]) -> bool:
    """Whether the first axis of every output is the batch."""
    lengths = {len(values) if values.ndim else 0 for values in outputs.values()}
    return len(lengths) == 1 and lengths != {0}


def _mismatch(expected: Mapping[str, Array], found: Mapping[str, Array]) -> str:
    if set(expected) != set(found):
        return f"outputs {_names(found)} instead of {_names(expected)}"
    for name, values in expected.items():
        if values.shape != found[name].shape:
            return f"{_name(name)} has shape {list(found[name].shape)} instead of {list(values.shape)}"
        if (values.dtype.kind == "O") != (found[name].dtype.kind == "O"):
            return f"{_name(name)} is of another type"
    return ""


def _changes(stable: Array, canary: Array, kind: Kind) -> NDArray[np.bool_]:
    """For each example, whether it changed. Both: [examples, …], of the same shape."""
    flat = (len(stable), -1)
    if stable.dtype.kind != "f" and canary.dtype.kind != "f":
        different: NDArray[np.bool_] = (stable.reshape(flat) != canary.reshape(flat)).any(axis=1)
        return different
    if kind == "classes" and stable.ndim > 1 and stable.shape[-1] > 1:
        moved: NDArray[np.bool_] = (stable.argmax(-1).reshape(flat) != canary.argmax(-1).reshape(flat)).any(axis=1)
        return moved
    first, second = stable.reshape(flat).astype(np.float64), canary.reshape(flat).astype(np.float64)
    largest = np.maximum(np.abs(first), np.abs(second)).max(axis=1, initial=0.0, keepdims=True)
    scale = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)  # squares of large numbers would overflow
    gap, size = np.linalg.norm(second / scale - first / scale, axis=1), np.linalg.norm(first / scale, axis=1)
    far: NDArray[np.bool_] = ~(np.isfinite(size) & (gap <= VALUE_TOLERANCE * size))
    return far


def _describe(index: int, expected: Mapping[str, Array], found: Mapping[str, Array], batched: bool) -> str:
    for name, values in expected.items():
        was, now = (np.asarray(side[index] if batched else side) for side in (values, found[name]))
        if not np.array_equal(was, now):
            if was.ndim and was.dtype.kind == "f" and was.shape[-1] > 1:
                return f"example {index}: the largest of {_name(name)} is at {_places(now)} instead of {_places(was)}"
            return f"example {index}: {_name(name)} is {_short(now)} instead of {_short(was)}"
    return ""


def _places(values: Array) -> str:
    return _short(values.argmax(-1))


def _short(values: Any) -> str:
    text = str(np.asarray(values).tolist())
    return text if len(text) <= 40 else text[:37] + "…"


def _name(name: str) -> str:
    return f"output {name!r}" if name else "the output"


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(name or "(one)" for name in names))


def _refusal(answer: Answer) -> str:
    try:
        reason = str(json.loads(answer.body)["error"])
    except (ValueError, TypeError, KeyError):
        reason = answer.body.decode("utf-8", "replace") or "an empty reply"
    return f"HTTP {answer.status}: {reason[:200]}"
