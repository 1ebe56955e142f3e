"""`isthmus partition`: a network split between device and cloud."""
