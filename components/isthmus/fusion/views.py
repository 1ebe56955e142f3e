"""What the members of a group answered to the same examples, checked: all that is wrong with it at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import InputError, Problem, property_path
from isthmus_agent.formats import numbers
from isthmus_agent.formats.evidence import MOST_BELOW, MOST_CLASSES
from isthmus_agent.formats.fusion_group import MOST_MEMBERS
from isthmus_agent.formats.scores import SUM_TOLERANCE

LABELS: Final = "labels"
LEAST_EXAMPLES: Final = 30
"""Fewer say nothing of how members err together."""
_EXPECTED_OUTPUTS: Final = "an array [examples, classes] of probabilities"
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Views:
    """members: their names, in order. log_probabilities: [members, examples, classes], none further below its row's largest than a device
    reads. labels: [examples], the right classes."""

    members: tuple[str, ...]
    log_probabilities: Numbers
    labels: NDArray[np.int64]

    @property
    def classes(self) -> int:
        return int(self.log_probabilities.shape[2])

    @property
    def right(self) -> NDArray[np.bool_]:
        """[members, examples]: whether the member alone is right."""
        return np.asarray(self.log_probabilities.argmax(axis=2) == self.labels)

    def of(self, examples: NDArray[Any]) -> "Views":
        """These examples alone. examples: whole numbers, or one truth value for each."""
        return Views(self.members, self.log_probabilities[:, examples], self.labels[examples])

    def without(self, member: str) -> "Views":
        """The others."""
        kept = [place for place, name in enumerate(self.members) if name != member]
        return Views(tuple(self.members[place] for place in kept), self.log_probabilities[kept], self.labels)


def views_of(outputs: Mapping[str, Any], labels: Any, where: str) -> Views:
    """The checked answers.

    Args:
        outputs: by member, its probabilities [examples, classes]; [examples, 1] is the probability of the second of two classes.
        labels: the right class of each example.
        where: the path of the file or option that they came from, for problems.

    Raises:
        InputError: everything that is wrong with them.
    """
    right, problems = _labels(labels, property_path([LABELS], where))
    problems += member_problems(list(outputs), where)
    tables: dict[str, Numbers] = {}
    for name in sorted(outputs):
        path = property_path([name], where)
        table, found = _table(outputs[name], path)
        problems += found
        if table is None:
            continue
        tables[name] = table
        if right is not None and len(table) != len(right):
            what = f"has answers to {len(table)} examples, and there are {len(right)} labels"
            problems.append(Problem(path, what, "one answer for each label: all members' views of the same examples, in the same order"))
    widths = {table.shape[1] for table in tables.values()}
    if len(widths) > 1:
        each = ", ".join(f"{name} {table.shape[1]}" for name, table in tables.items())
        problems.append(Problem(where, f"members answer different numbers of classes ({each})", "one model's answers"))
    elif widths and right is not None and right.max() >= (classes := widths.pop()):
        problems.append(Problem(property_path([LABELS], where), f"found class {right.max()}", f"0 to {classes - 1}, as members answer"))
    if problems or right is None:
        raise InputError(problems)
    logs = np.log(np.maximum(np.stack(list(tables.values())), np.finfo(np.float64).tiny))
    return Views(tuple(tables), np.maximum(logs, logs.max(axis=2, keepdims=True) - MOST_BELOW), right)


def member_problems(names: list[str], where: str) -> list[Problem]:
    """What is wrong with who the members are."""
    problems = []
    if not 1 <= len(names) <= MOST_MEMBERS:
        what = f"has {len(names)} members beside `{LABELS}`"
        problems.append(Problem(where, what, f"1 to {MOST_MEMBERS} arrays, each named by its member", "add one array for each view"))
    for name in names:
        try:
            numbers.name(name, "")
        except numbers.FormatError as error:
            problems.append(Problem(where, f"a member cannot be called so: {error}"))
    return problems


def _labels(labels: Any, path: str) -> tuple[NDArray[np.int64] | None, list[Problem]]:
    if labels is None:
        return None, [Problem(path, "is missing", "the right class of each example", f"add an array `{LABELS}`")]
    found = np.asarray(labels)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        return None, [Problem(path, f"found {found.dtype} {list(found.shape)}", "whole numbers [examples]: the right classes")]
    if len(found) < LEAST_EXAMPLES:
        return None, [Problem(path, f"found {len(found)} examples", f"{LEAST_EXAMPLES} or more", "add examples that were not trained on")]
    if found.min() < 0 or found.max() >= MOST_CLASSES:
        wrong = found.min() if found.min() < 0 else found.max()
        return None, [Problem(path, f"found class {wrong}", f"0 to {MOST_CLASSES - 1} at most")]
    if found.min() == found.max():
        return None, [Problem(path, f"all examples are of class {found.min()}", "examples of two classes or more")]
    return found.astype(np.int64), []


def _table(output: Any, path: str) -> tuple[Numbers | None, list[Problem]]:
    found = np.asarray(output)
    if found.ndim != 2 or found.dtype.kind not in "fiu" or not 1 <= found.shape[1] <= MOST_CLASSES:
        return None, [Problem(path, f"found {found.dtype} {list(found.shape)}", f"{_EXPECTED_OUTPUTS}, {MOST_CLASSES} classes at most")]
    table = found.astype(np.float64)
    if table.shape[1] == 1:
        table = np.concatenate([1 - table, table], axis=1)
    wrong = ~((table >= 0) & (table <= 1 + SUM_TOLERANCE)).all(axis=1)  # a NaN is neither
    wrong |= np.abs(np.nan_to_num(table, posinf=9.0, neginf=9.0).clip(-9, 9).sum(axis=1) - 1) > SUM_TOLERANCE
    if wrong.any():
        what = f"{int(wrong.sum())} of {len(table)} rows are no probabilities, the first of them row {int(wrong.argmax())}"
        return None, [Problem(path, what, f"{_EXPECTED_OUTPUTS}: 0 to 1, their sum 1", "let the model end in a softmax or a sigmoid")]
    return table, []
