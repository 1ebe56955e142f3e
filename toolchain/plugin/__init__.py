"""The base of the fall-back plugins: Pulumi's ResourceProvider protocol for resource types that an official plugin defines.

They serve machines that cannot download the official plugins. A plugin is a `Provider`, which finds the `Handler` of a type token;
handlers work on raw property bags, because the types, their defaults and their checks belong to the official SDK.
"""
