"""The run of all tests: what runs beside what, what is run again, how long a test is patient, and what the run tells at its end.

`python -m toolchain.testing [arguments of pytest]`, run in the project folder.
"""

RELEASES = "ISTHMUS_TEST_RELEASES"
"""The variable that names the folder where all parts of a run keep what they compile, each release once."""
