"""What a kubeconfig says: which API server, and with which credentials it is asked.

It is given by its content or path, or it is what kubectl would use (KUBECONFIG with one file or several, ~/.kube/config), or a
Pod's own account. Files are merged as kubectl does it: what the first one says counts. TLS and credentials, programs (`exec`)
included, are the official client's business. No error quotes more of a kubeconfig than names and paths: the rest may be secret.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from isthmus.errors import PlatformError

_DEFAULT_FILE: Final = os.path.join("~", ".kube", "config")
_NAMESPACE_OF_POD: Final = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
# More requests at once than the official client's default: an engine does many things side by side.
_CONNECTIONS: Final = 32
# A token in a file is written anew by somebody else; it is read as if it lived so long.
_TOKEN_FILE_SECONDS: Final = 120.0
# Renewed so long before it ends, or in the middle of its life, but never again and again.
_EARLY_SECONDS: Final = 300.0
_SELDOM_SECONDS: Final = 10.0
_FIX: Final = "Fix: set KUBECONFIG or the argument `kubeconfig` to the cluster's; `kubectl config get-contexts` lists what is in one"


@dataclass(frozen=True)
class Access:
    """kubeconfig: its content or its path; empty: what kubectl would use, or the Pod's own. context, cluster, namespace: instead of what it
    says itself."""

    kubeconfig: str = field(default="", repr=False)
    context: str = ""
    cluster: str = ""
    namespace: str = ""


@dataclass(frozen=True)
class Entry:
    """A named part of a kubeconfig. path: of the file it is in, to which paths in it are relative; None: of no file."""

    name: str
    value: Mapping[str, Any] = field(default_factory=dict, repr=False)
    path: str | None = None


@dataclass(frozen=True)
class Active:
    """The context that is used, and what belongs to it. user: without a name where requests are anonymous."""

    context: str
    namespace: str
    cluster: Entry
    user: Entry


@dataclass(frozen=True)
class Session:
    """An API server with credentials. context: empty in a Pod. headers: what the credentials add to each request. since, renew_at: when
    they were got, and are to be got again, in seconds of the clock."""

    server: str
    context: str
    namespace: str
    pool: Any = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    since: float
    renew_at: float


def is_content(kubeconfig: str) -> bool:
    """Whether a text is the content of a kubeconfig, and no path."""
    return "\n" in kubeconfig or kubeconfig.lstrip().startswith("{")


def active(access: Access) -> Active | None:
    """The context that is used; None: there is no kubeconfig, and this is a Pod. Raises PlatformError."""
    import yaml

    named = access.kubeconfig if access.kubeconfig.strip() else ""
    given = named or os.environ.get("KUBECONFIG", "") or _DEFAULT_FILE
    # What is no path (content in base64, say) is not shown.
    shown = given if given.startswith(("/", "~", ".")) else "the file that is named"
    try:
        if is_content(given):
            return _chosen([(None, yaml.safe_load(given))], access)
        paths = [os.path.abspath(os.path.expanduser(path)) for path in given.split(os.pathsep) if path]
        documents = [(path, yaml.safe_load(Path(path).read_text("utf-8"))) for path in paths if os.path.exists(path)]
        if documents:
            return _chosen(documents, access)
    except OSError as error:
        raise PlatformError(f"the kubeconfig {shown} cannot be read: {error.strerror}. {_FIX}") from None
    except (yaml.YAMLError, AttributeError, TypeError, KeyError, ValueError, RecursionError):  # whose texts quote the content
        raise PlatformError(f"the kubeconfig is no valid YAML or JSON of that kind. {_FIX}") from None
    if not named and "KUBERNETES_SERVICE_HOST" in os.environ:
        return None
    raise PlatformError(f"no kubeconfig: {shown} does not exist. {_FIX}")


def _chosen(documents: list[tuple[Any, Any]], access: Access) -> Active:
    merged: dict[str, dict[str, Entry]] = {"context": {}, "cluster": {}, "user": {}}
    current = access.context
    for path, content in documents:
        for kind, entries in merged.items():
            for item in (content or {}).get(f"{kind}s") or ():
                entries.setdefault(item["name"], Entry(item["name"], dict(item.get(kind) or {}), path))
        current = current or (content or {}).get("current-context") or ""

    def entry(kind: str, name: str) -> Entry:
        if name not in merged[kind]:
            raise _unusable(f"it has no {kind} {name!r}" + (f", but {', '.join(merged[kind])}" if merged[kind] else ""))
        return merged[kind][name]

    if not current:
        raise _unusable("it has no current context, and none is named")
    context = entry("context", current).value
    cluster = entry("cluster", access.cluster or context.get("cluster") or "")
    if not cluster.value.get("server"):
        raise _unusable(f"its cluster {cluster.name!r} has no server")
    user = entry("user", context["user"]) if context.get("user") else Entry("")
    return Active(current, access.namespace or context.get("namespace") or "default", cluster, user)


def _unusable(why: str, fix: str = _FIX) -> PlatformError:
    return PlatformError(f"the kubeconfig cannot be used: {why}. {fix}")


def active_cluster(access: Access) -> Mapping[str, Any]:
    """The active cluster's entry (`server`, …), which tells clusters apart; empty where it cannot be told."""
    try:
        found = active(access)
    except PlatformError:
        return {}
    return found.cluster.value if found else {}


def session(access: Access) -> Session:
    """Credentials, read or got now. Raises PlatformError."""
    from kubernetes import client, config

    found, now = active(access), time.time()
    configuration: Any = client.Configuration()
    configuration.connection_pool_maxsize = _CONNECTIONS
    loader: Any = _loader(found) if found else config
    try:
        if found:
            loader.load_and_set(configuration)
            place = found.context, found.namespace
        else:
            loader.load_incluster_config(configuration)
            place = "", access.namespace or Path(_NAMESPACE_OF_POD).read_text("utf-8").strip()
        configuration.refresh_api_key_hook = None  # which runs a program with every request, where its tokens live for minutes
        settings = configuration.auth_settings().values()
        headers = {it["key"].title(): str(it["value"]).strip() for it in settings if it["value"]}
        pool = client.ApiClient(configuration).rest_client.pool_manager
    except Exception as error:  # of any library that can be part of it, and whose text can hold anything
        raise _unusable(_safe_text(error)) from None
    user = found.user.value if found else {}
    if "exec" in user and not headers and not configuration.cert_file:
        name = found.user.name if found else ""
        raise _unusable(f"the program of its user {name!r} gave no credentials", "Fix: run it by hand to see why, or log in with it anew")
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        raise _unusable("its token has characters that no header can have")
    is_from_file = not found or ("tokenFile" in user and "token" not in user)
    expiry = getattr(loader, "expiry", None)
    left = _TOKEN_FILE_SECONDS if is_from_file else float("inf") if expiry is None else expiry.timestamp() - now
    renew_at = now + max(left - _EARLY_SECONDS, left / 2, _SELDOM_SECONDS)
    return Session(str(configuration.host).rstrip("/"), *place, pool, headers, now, renew_at)


def _loader(found: Active) -> Any:
    """The official client's reader of the chosen parts alone. Their names and paths are what its errors speak of."""
    from kubernetes.config import kube_config

    official: Any = kube_config  # it has no types
    context = Entry(found.context, {"cluster": found.cluster.name, "user": found.user.name})
    content: dict[str, Any] = {"current-context": found.context}
    for kind, it in (("context", context), ("cluster", found.cluster), ("user", found.user)):
        content[f"{kind}s"] = [official.ConfigNode(f"{kind} {it.name!r}", {"name": it.name, kind: it.value}, it.path)]
    return official.KubeConfigLoader(official.ConfigNode("kubeconfig", content), config_base_path=None)


def _safe_text(error: Exception) -> str:
    """An error's text, where it is known to quote nothing but names and paths."""
    file = getattr(error, "filename", None)
    text = f"{file}: {getattr(error, 'strerror', '')}" if file else str(error)
    is_known = file or text.startswith(("File does not exist: ", "Invalid kube-config", "Service "))
    return text if is_known and "\n" not in text else f"it has a value that cannot be used ({type(error).__name__})"
