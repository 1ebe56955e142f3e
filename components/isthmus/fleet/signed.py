"""Gates as they are signed, in whole numbers, from those that a user writes, and back: the one place where it is done. Pure."""

import math

from isthmus.fleet.gates import Gate
from isthmus_agent.formats.gate import Gate as SignedGate
from isthmus_agent.formats.numbers import MILLION

_PER_PERCENT = MILLION // 100


def signed_gate(gate: Gate) -> SignedGate:
    """Parts of a millionth are rounded so that the gate asks no less, parts of a second to the next whole one."""
    confidence = None if gate.confidence_percent is None else math.ceil(_millionths(gate.confidence_percent))
    return SignedGate(
        max_failure_millionths=math.floor(_millionths(gate.max_failure_percent)),
        soak_seconds=math.ceil(gate.soak_seconds),
        deadline_seconds=math.ceil(gate.deadline_seconds),
        min_reports=gate.min_reports,
        confidence_millionths=confidence,
        when_unclear=gate.when_unclear,
    )


def gate_of(signed: SignedGate) -> Gate:
    """The gate that a signed one stands for."""
    confidence = signed.confidence_millionths
    return Gate(
        max_failure_percent=signed.max_failure_millionths / _PER_PERCENT,
        min_reports=signed.min_reports,
        soak_seconds=signed.soak_seconds,
        deadline_seconds=signed.deadline_seconds,
        confidence_percent=None if confidence is None else confidence / _PER_PERCENT,
        when_unclear=signed.when_unclear,
    )


def _millionths(percent: float) -> float:
    return round(percent * _PER_PERCENT, 6)  # 0.29 % are 2,900, which floats deny
