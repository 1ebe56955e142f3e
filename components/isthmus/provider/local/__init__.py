"""Processes of a stack on this machine, kept by a supervisord of the stack's own."""
