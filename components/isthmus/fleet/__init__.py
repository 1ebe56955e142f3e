"""What a fleet's reports amount to. Pure."""
