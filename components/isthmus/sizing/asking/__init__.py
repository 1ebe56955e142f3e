"""What people ask of a plan: the table, each number explained, what would be if, and what is deployed. Pure."""
