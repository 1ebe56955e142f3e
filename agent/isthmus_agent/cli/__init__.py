"""Commands on a device."""
