"""`isthmus logs`: what the parts of a stack wrote."""
