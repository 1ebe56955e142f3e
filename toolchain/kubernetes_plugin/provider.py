"""The plugin as a whole: its settings, and which type tokens it serves."""

import re
from typing import Final

from toolchain.kubernetes_plugin.handler import ObjectHandler
from toolchain.kubernetes_plugin.settings import Settings, problems

from isthmus.apiserver.kubeconfig import active_cluster
from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.bags.handler import Checked, Difference, Handler
from isthmus.plugin.diffs import Change

VERSION: Final = "4.34.2"

_TOKEN: Final = re.compile(r"kubernetes:(?P<group>[a-z0-9.-]+/)?v\w+:(?P<kind>[A-Z]\w*)")
# Types of the official SDK that are no objects of an API server, or are several at once.
_HELPERS: Final = ("helm.sh/", "yaml/", "kustomize/")
_PARTIAL: Final = ("Patch", "List")
_BUILT_IN: Final = re.compile(r"(\w+|[\w.-]+\.k8s\.io)/")


class KubernetesProvider:
    """`isthmus.plugin.bags.handler.Provider` for every kind of object that the API server knows."""

    package = "kubernetes"
    version = VERSION

    def __init__(self) -> None:
        self._objects = ObjectHandler(Settings())

    def check_settings(self, settings: Bag) -> Checked:
        return Checked(settings, problems(settings))

    def diff_settings(self, old: Bag, new: Bag) -> Difference:
        names = sorted(name for name in {*old.values, *new.values} if old.values.get(name) != new.values.get(name))
        before, after = active_cluster(Settings.of(old).access), active_cluster(Settings.of(new).access)
        elsewhere = not Settings.of(new).known or bool(before and after and before != after)
        if old.values.get("clusterIdentifier") and new.values.get("clusterIdentifier"):
            elsewhere = "clusterIdentifier" in names
        places = ("kubeconfig", "context", "cluster", "clusterIdentifier")
        return Difference([Change((name,), "update", replaces=elsewhere and name in places) for name in names])

    def configure(self, settings: Bag) -> None:
        self._objects = ObjectHandler(Settings.of(settings))

    def handler(self, token: str) -> Handler | None:
        found = _TOKEN.fullmatch(token)
        if found is None or (found["group"] or "").startswith(_HELPERS):
            return None
        built_in = _BUILT_IN.fullmatch(found["group"] or "core/")
        return None if built_in and found["kind"].endswith(_PARTIAL) else self._objects
