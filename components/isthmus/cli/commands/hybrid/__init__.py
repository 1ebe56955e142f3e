"""`isthmus hybrid`: a model in two places, as it runs."""
