"""The device program as devices get it: a folder of wheels with an install script, or a Debian package."""
