"""`isthmus plan`: the plan of what is deployed, and what would be if."""
