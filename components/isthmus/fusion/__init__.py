"""What a preview learns of a group of devices that see the same thing from several sides. Pure.

`views` checks what members answered, `learn` makes the group's file of it, `batch` fuses many examples at once, as devices fuse one
(`isthmus_agent.core.fusion` has the mathematics), and `validate` says what the group is worth on examples that it was not learned from.
"""
