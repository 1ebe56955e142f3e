"""The process that serves one content: the interpreter, its self-test, and TensorFlow Serving's REST calls.

The manager starts it (`python -m isthmus_agent.server`, see `channel`) and ends it. One thread does everything, one request at a time, and
reads nothing that it cannot begin with: what waits, waits in the kernel, and outlives a crash. A request that takes longer than it may ends
the process by an alarm of the kernel (SIGALRM), so that nothing that hangs can hold that up.
"""
