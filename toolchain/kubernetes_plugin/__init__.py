"""The fall-back plugin `pulumi-resource-kubernetes`: what the official one does for any object of an API server, with server-side apply.

It serves machines that cannot download the official plugin, and writes state that the official one can go on with.
"""
