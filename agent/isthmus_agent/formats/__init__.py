"""What the device and the operator's side both read and write. Pure, the standard library alone."""
