"""`isthmus predict`: one request to everybody who serves a model."""
