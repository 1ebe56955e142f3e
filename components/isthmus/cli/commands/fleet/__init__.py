"""`isthmus fleet`: what a fleet's devices are told."""
