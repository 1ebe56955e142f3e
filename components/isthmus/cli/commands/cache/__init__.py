"""`isthmus cache`: what this machine keeps of compiled releases."""
