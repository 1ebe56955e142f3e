"""What any Pulumi plugin in Python needs: values, schema, differences, replies, the protocol, the process.

It knows of this package nothing but the errors: the fall-back plugins of the toolchain stand on it too.
"""
