"""The embedded server: TensorFlow Serving's REST and gRPC interfaces on SavedModels, for machines that have no TensorFlow Serving.

Importing this package imports no TensorFlow; `isthmus.server.app` does.
"""
