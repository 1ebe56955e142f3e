"""The .tflite file: its schema, and what can be read from it without an interpreter."""
