"""What a canary's figures amount to: evidence, exact tests, comparison, judgement. Pure."""
