"""Rollouts: a release is brought to a fleet wave by wave, from what is signed and what devices say."""
