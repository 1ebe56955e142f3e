"""How what runs is asked from this machine, and what the commands show of it; the same on every platform."""
