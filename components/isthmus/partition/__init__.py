"""A network split between device and cloud: where it may be cut, what goes over the wire, and which cut is fastest. Pure."""
