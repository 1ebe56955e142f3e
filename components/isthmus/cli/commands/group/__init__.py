"""`isthmus group`: devices that see the same thing, and answer together."""
