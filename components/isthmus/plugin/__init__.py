"""What any Pulumi plugin in Python needs: values, schema, differences, replies, the protocol."""
