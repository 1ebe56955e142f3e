"""Docker engines of other machines: how they are reached, and short jobs that run there."""
