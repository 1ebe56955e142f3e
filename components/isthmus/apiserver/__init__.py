"""A Kubernetes API server, as whoever talks to one sees it: what a kubeconfig says, one request, and what goes wrong."""
