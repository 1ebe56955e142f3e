"""Machines with a Docker engine each."""
