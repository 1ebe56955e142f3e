"""Prepares the project's tools on the user's machine: `python3 -m toolchain.prepare`, which `make` calls.

It runs on the system's own Python before anything is installed, so it uses the standard library alone.
"""
