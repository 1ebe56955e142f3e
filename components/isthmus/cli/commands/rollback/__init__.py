"""`isthmus rollback`: all traffic to the stable release."""
