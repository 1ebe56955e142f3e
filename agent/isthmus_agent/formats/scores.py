"""How a classifier's answers are read: as probabilities or as logits."""

from typing import Final

PROBABILITIES, LOGITS = SCORES = ("probabilities", "logits")
"""What scores are."""
SUM_TOLERANCE: Final = 0.05
"""How far probabilities may miss 1 in sum: a quantised softmax rounds each class."""
LEAST_LOGIT: Final = -88.0
"""Beside the row's largest; below it (minus infinity, say) e^z is no number of 32 bits any more."""
