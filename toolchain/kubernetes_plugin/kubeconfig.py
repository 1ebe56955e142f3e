"""From a kubeconfig (content, path, or what the environment says) to an API client of the official Python package."""

import io
import os
from typing import TYPE_CHECKING, Any

from toolchain.kubernetes_plugin.settings import Settings

from isthmus.errors import PlatformError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_DEFAULT_FILE = os.path.join("~", ".kube", "config")
_DEFAULT_NAMESPACE = "default"
_NAMESPACE_OF_POD = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


def _load(settings: Settings) -> tuple[Any, Any]:
    """The official package's loader, and the kubeconfig; nothing where there is no kubeconfig and this process runs in a Pod."""
    import yaml
    from kubernetes.config import ConfigException, kube_config

    official: Any = kube_config  # it has no types

    given = settings.kubeconfig or os.environ.get("KUBECONFIG", "") or _DEFAULT_FILE
    is_content = given.lstrip().startswith("{") or "\n" in given
    try:
        config = official.KubeConfigMerger(io.StringIO(given) if is_content else given).config
        if config is None:
            if not settings.kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ:
                return None, None
            raise PlatformError(f"no kubeconfig: {given} does not exist. Fix: set KUBECONFIG, or the provider's argument kubeconfig")
        config = config if isinstance(config, official.ConfigNode) else official.ConfigNode("kubeconfig", config)
        loader = official.KubeConfigLoader(config, settings.context or None, config_base_path=None)
        if settings.cluster:
            loader.current_context["context"]["cluster"] = settings.cluster
            loader.set_active_context(settings.context or None)
        return loader, config
    except ConfigException as error:
        raise PlatformError(f"the kubeconfig cannot be used: {error}") from None
    except (yaml.YAMLError, AttributeError, TypeError, KeyError):
        # What the parser says quotes the content, which may be a secret.
        raise PlatformError("the kubeconfig is no valid YAML or JSON of that kind") from None
    except OSError as error:
        raise PlatformError(f"the kubeconfig {given} cannot be read: {error.strerror}") from None


def connect(settings: Settings) -> "tuple[ApiClient, str, str]":
    """An API client, the default namespace, and the name of the context.

    Raises:
        PlatformError: there is no usable kubeconfig.
    """
    from kubernetes import config as official_config
    from kubernetes.client import ApiClient, Configuration

    config: Any = official_config  # it has no types
    loader, _ = _load(settings)
    configuration = Configuration()
    # More requests at once than the default of one connection for each processor; the engine does many things side by side.
    configuration.connection_pool_maxsize = 32
    configuration.retries = 0
    if loader is None:
        config.load_incluster_config(configuration)
        with open(_NAMESPACE_OF_POD, encoding="utf-8") as file:
            namespace, context = file.read().strip(), "in-cluster"
    else:
        try:
            loader.load_and_set(configuration)
        except (config.ConfigException, OSError, ValueError) as error:
            raise PlatformError(f"the kubeconfig cannot be used: {error}") from None
        context = loader.current_context["name"]
        namespace = loader.current_context["context"].get("namespace", "")
    return ApiClient(configuration), settings.namespace or namespace or _DEFAULT_NAMESPACE, context


def active_cluster(settings: Settings) -> object:
    """The active cluster's entry in the kubeconfig; None where it cannot be told."""
    try:
        loader, kubeconfig = _load(settings)
    except PlatformError:
        return None
    if loader is None:
        return None
    found = kubeconfig["clusters"].get_with_name(loader.current_context["context"]["cluster"])
    return dict(found["cluster"].value)
