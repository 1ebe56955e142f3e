"""Positive definite matrices of a few rows: their factor, and what it solves. Pure Python: a device has no numpy here."""

import math
from collections.abc import Sequence
from typing import Final

LEAST_PIVOT: Final = 1e-3
"""Of a matrix with ones on its diagonal: below it a row is nearly said by the others, and a solution magnifies noise."""

Rows = Sequence[Sequence[float]]


def factor(matrix: Rows) -> list[list[float]] | None:
    """Cholesky's factor L of a symmetric matrix [n, n], LLᵀ = matrix, its row i with i + 1 numbers; None where it is not definite enough.

    Of the matrix only what lies on and below the diagonal is read.
    """
    rows: list[list[float]] = []
    for i, given in enumerate(matrix):
        row: list[float] = []
        for j in range(i):
            row.append((given[j] - math.fsum(a * b for a, b in zip(row, rows[j], strict=False))) / rows[j][j])
        pivot = given[i] - math.fsum(a * a for a in row)
        if not pivot >= LEAST_PIVOT:
            return None
        rows.append([*row, math.sqrt(pivot)])
    return rows


def solve(matrix: Rows, right: Sequence[float]) -> list[float]:
    """x [n] with matrix · x = right. Raises ValueError where the matrix is not definite enough."""
    rows = factor(matrix)
    if rows is None:
        raise ValueError("not positive definite")
    count = len(rows)
    found: list[float] = []
    for row, value in zip(rows, right, strict=True):
        found.append((value - math.fsum(a * b for a, b in zip(row, found, strict=False))) / row[-1])
    for i in reversed(range(count)):
        found[i] = (found[i] - math.fsum(rows[j][i] * found[j] for j in range(i + 1, count))) / rows[i][i]
    return found
