"""The device program: fetch a signed release, test it, switch to it atomically, serve it, report.

`python -m isthmus.agent --config FILE`; docs/edge.md says what it does step by step. It needs LiteRT and aiohttp, and
never TensorFlow or Pulumi.
"""
