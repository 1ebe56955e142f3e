"""This machine: processes under a supervisor."""
