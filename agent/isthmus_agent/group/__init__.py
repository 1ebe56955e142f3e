"""Devices that work together: who is there, whose streams are done by whom, and large inputs done in tiles. No I/O, no clock, no chance.

Each stream of requests has a home, the device that it begins at. The home alone gives its lease, so that there is one writer and nothing
to agree on: `membership` says who there is to give it to, `allocation` to whom it goes, `asking` keeps each request until it has one
answer, `working` does what others ask, and `core` is one device's part in all of it. What they owe the bus stands in `effects`.
"""
