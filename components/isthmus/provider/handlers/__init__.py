"""The custom resources, one handler each."""
