"""A fleet by the thousand: each device has the core, the client and the disk of the real program, and a clock of its own making.

What is simulated is time (`agenda`), the interpreter (`device.Kind` says what a content does) and the threads of the program. What is real:
`isthmus_agent.core.step`, the repository's client with python-tuf, requests over HTTP, downloads, slots and marks, reports and their keys.
"""
