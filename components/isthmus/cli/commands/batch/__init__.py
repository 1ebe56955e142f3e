"""`isthmus batch`: one scoring job over all servers of a service."""
