"""Kubernetes clusters, as the handlers see them: a small client, traffic splits, gateways, probes."""
