"""The platforms there are."""

PLATFORMS = ("local", "docker", "kubernetes")
