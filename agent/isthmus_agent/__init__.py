"""The device program: keeps one device's model up to date and serves it. It knows nothing of the package `isthmus`."""
