"""The `kubernetes` platform: the objects of one service, as values. Nothing is sent from here.

spec.py              what is asked for
naming.py            names, labels, the objects' common frame
resources.py         what a server asks its node for
pods.py              what all Pods have in common
workloads.py         servers; their namespace and account
fetching.py          how a server gets its release
gateway_objects.py   Envoy
network.py           Services and NetworkPolicies
autoscaling.py       autoscalers and disruption budgets
scraping.py, queries.py, rules.py, dashboards.py   what is watched
manifests.py         all of them, in the order in which they are made
"""

from isthmus.platforms.kubernetes.objects.gateway_objects import envoy, traffic_name
from isthmus.platforms.kubernetes.objects.manifests import objects, outline, problems
from isthmus.platforms.kubernetes.objects.naming import named, server_host, server_name, servers_name
from isthmus.platforms.kubernetes.objects.queries import Query, queries
from isthmus.platforms.kubernetes.objects.resources import Resources, server_resources
from isthmus.platforms.kubernetes.objects.spec import GatewayPods, KubernetesService, Observability, Pool, Served, Store, Track

__all__ = [
    "GatewayPods",
    "KubernetesService",
    "Observability",
    "Pool",
    "Query",
    "Resources",
    "Served",
    "Store",
    "Track",
    "envoy",
    "named",
    "objects",
    "outline",
    "problems",
    "queries",
    "server_host",
    "server_name",
    "server_resources",
    "servers_name",
    "traffic_name",
]
