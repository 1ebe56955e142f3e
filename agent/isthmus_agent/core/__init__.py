"""What a device does next, and why: states, events and effects, with no I/O, no clock and no chance.

    step(state, event, now) -> (state, effects)

    idle → checking → downloading → verified → waiting → trial → confirmed | rolled_back | unfit | blocked

An executor does the effects, in their order, and tells what came of them as events. One executor runs devices, another one simulates ten
thousand of them. What it owes the core stands in `effects`.
"""
