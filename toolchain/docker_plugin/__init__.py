"""A fall-back `pulumi-resource-docker`: the part of the official Docker plugin that this project uses, on Docker's official Python SDK."""
