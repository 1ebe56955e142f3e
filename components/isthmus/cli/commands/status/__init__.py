"""`isthmus status`: what a stack runs."""
