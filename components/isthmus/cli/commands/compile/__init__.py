"""`isthmus compile`: what a preview does, without Pulumi."""
