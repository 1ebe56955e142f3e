"""Real Docker engines for tests, each like a virtual machine of its own.

Every engine has its own network, mounts, processes and host name, and lies on one bridge inside a network namespace of the
tests' own: nothing of the machine's is touched, and no packet leaves it. `hosts.start` starts them.
"""
