"""Models as users have them: found, checked without TensorFlow, and loaded in a worker."""
