"""A plugin for resource types that somebody else defines, as an official plugin's are.

It is a `Provider`, which finds the `Handler` of a type token; handlers work on raw property bags, because the types, their defaults and
their checks belong to the official SDK.
"""
