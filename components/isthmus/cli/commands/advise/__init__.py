"""`isthmus advise`: cloud, edge or hybrid, and why."""
