"""One folder a command. Its `command` module says what may be asked and imports little; what it does lies beside it."""
