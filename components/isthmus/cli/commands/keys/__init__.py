"""`isthmus keys`: the keys that a fleet's repository is signed with."""
