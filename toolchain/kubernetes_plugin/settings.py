"""The provider's settings: which of the official ones are covered, and where the cluster is."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from isthmus.apiserver.kubeconfig import Access
from isthmus.errors import Problem
from isthmus.plugin.bags.bag import Bag
from isthmus.plugin.values import UNKNOWN

# Setting → the environment variable that gives its default.
_SWITCHES = {
    "enableServerSideApply": "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY",
    "enablePatchForce": "PULUMI_K8S_ENABLE_PATCH_FORCE",
    "enableConfigMapMutable": "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE",
    "enableSecretMutable": "PULUMI_K8S_ENABLE_SECRET_MUTABLE",
    "upsertExistingObjects": "PULUMI_K8S_UPSERT_EXISTING_OBJECTS",
    "deleteUnreachable": "PULUMI_K8S_DELETE_UNREACHABLE",
    "skipUpdateUnreachable": "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE",
    "suppressDeprecationWarnings": "PULUMI_K8S_SUPPRESS_DEPRECATION_WARNINGS",
    "suppressHelmHookWarnings": "PULUMI_K8S_SUPPRESS_HELM_HOOK_WARNINGS",
    "strictMode": "",
    "alwaysRender": "",
}
_PLACES = ("kubeconfig", "context", "cluster", "namespace")
_TEXTS = (*_PLACES, "clusterIdentifier")
# Nothing to refuse in these: they only tune the official client.
_WITHOUT_EFFECT = ("kubeClientSettings", "helmReleaseSettings")
# Setting → the only value that is covered.
_REFUSED = {"skipUpdateUnreachable": False, "strictMode": False, "alwaysRender": False, "enableServerSideApply": True}


@dataclass(frozen=True)
class Settings:
    """What a program said.

    access: to its cluster. known: False while the cluster itself is still to be made, so that nothing can be asked of it.
    """

    access: Access = field(default_factory=Access)
    known: bool = True
    patch_force: bool = False
    config_map_mutable: bool = False
    secret_mutable: bool = False
    upsert: bool = False
    delete_unreachable: bool = False

    @staticmethod
    def of(bag: Bag, environ: Mapping[str, str] = os.environ) -> "Settings":
        """The settings, with defaults from the environment."""
        values = bag.values
        return Settings(
            Access(**{name: _text(values.get(name)) for name in _PLACES}),
            known=not any(values.get(name) is UNKNOWN for name in _PLACES),
            patch_force=_switch("enablePatchForce", values, environ),
            config_map_mutable=_switch("enableConfigMapMutable", values, environ),
            secret_mutable=_switch("enableSecretMutable", values, environ),
            upsert=_switch("upsertExistingObjects", values, environ),
            delete_unreachable=_switch("deleteUnreachable", values, environ),
        )


def _text(value: Any) -> str:
    # A kubeconfig that is JSON text arrives as the value that it describes.
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, dict) else ""


def _switch(name: str, values: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    value = values.get(name, environ.get(_SWITCHES[name], ""))
    return value is True or value == "true"


def problems(bag: Bag, environ: Mapping[str, str] = os.environ) -> list[Problem]:
    """What the fall-back plugin cannot do of what was set, each by name."""
    found = []
    fix = "install the official plugin, or leave the setting out"
    for name, value in bag.values.items():
        if name not in (*_SWITCHES, *_TEXTS, *_WITHOUT_EFFECT):
            found.append(Problem(name, "the fall-back kubernetes plugin does not cover this setting", fix=fix))
        elif name in _TEXTS and value is not UNKNOWN and not isinstance(value, str | dict):
            found.append(Problem(name, "is no text", "text"))
    for name, covered in _REFUSED.items():
        given = name in bag.values or bool(environ.get(_SWITCHES[name], ""))
        if given and _switch(name, bag.values, environ) != covered:
            text = f"the fall-back kubernetes plugin only covers {str(covered).lower()}"
            found.append(Problem(name, text, fix=fix))
    return found
