"""Weights as small integers with the least squared error, written into a .tflite file and read back from it."""
