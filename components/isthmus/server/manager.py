"""Keeps the models on disk and the models in memory the same.

One thread looks at each model's folder, loads the versions that its policy asks for and, once one of these is
available, unloads the others. Calls find a version without waiting for that thread.
"""

import gc
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.server.bundle import Bundle
from isthmus.server.config import ModelConfig
from isthmus.server.errors import ModelLoadError, ServingError, StartError, invalid
from isthmus_agent.protocol import VersionStatus

_RETRY_MISSING_PATH_SECONDS = 1.0
_STOP_SECONDS = 1.0
_VERSION_NAME = re.compile(r"0|[1-9][0-9]{0,17}")
_log = logging.getLogger(__name__)


@dataclass
class _Model:
    """One configured model. versions and bundles are replaced, never changed, so that readers need no lock.

    aspired: versions that the policy asks for; None until the folder has been seen.
    failures: how often loading a version failed; cleared when it is no longer asked for.
    """

    config: ModelConfig
    aspired: set[int] | None = None
    versions: dict[int, VersionStatus] = field(default_factory=dict)
    bundles: dict[int, Bundle] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)
    next_try: dict[int, float] = field(default_factory=dict)
    removed: bool = False

    @property
    def available(self) -> bool:
        return bool(self.aspired) and self.aspired is not None and self.aspired <= self.bundles.keys()


@dataclass(frozen=True)
class Watching:
    """How to look for versions. Times in seconds; poll_seconds 0: a folder is looked at until it has been seen once."""

    poll_seconds: float = 1.0
    load_retries: int = 5
    retry_seconds: float = 60.0
    labels_need_available: bool = True


class ModelManager:
    """The served models.

    Args:
        load: loads the SavedModel in a folder; raises ModelLoadError.
        read_configs: called on each look for new versions; returns the models to serve, or None for no change.
    """

    def __init__(
        self, load: Callable[[Path], Bundle], watching: Watching, read_configs: Callable[[], list[ModelConfig] | None] = lambda: None
    ) -> None:
        self._load = load
        self._watching = watching
        self._read_configs = read_configs
        self._models: dict[str, _Model] = {}
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._watch, name="model-manager", daemon=True)

    def start(self, configs: Iterable[ModelConfig]) -> None:
        """Begin to load these models."""
        self.apply(configs)
        self._thread.start()

    def stop(self) -> None:
        """Look for no more versions; what is loaded stays. A load under way is hardly waited for."""
        self._stopping = True
        self._wake.set()
        self._thread.join(_STOP_SECONDS)

    def apply(self, configs: Iterable[ModelConfig]) -> None:
        """Serve exactly these models from now on."""
        wanted = {config.name: config for config in configs}
        with self._changed:
            models = dict(self._models)
            for name, config in wanted.items():
                model = models.get(name)
                if model is None:
                    models[name] = _Model(config)
                elif model.config != config or model.removed:
                    model.config, model.removed, model.aspired = config, False, None
            for name, model in models.items():
                if name not in wanted:
                    model.removed, model.aspired = True, set()
            self._models = models
        self._wake.set()

    def wait_until_available(self, timeout_seconds: float | None = None) -> None:
        """Return when every version that is asked for is available.

        Raises:
            StartError: one of them cannot be loaded, a label names a version that is not available, or time is up.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._changed:
            while True:
                models = [model for model in self._models.values() if not model.removed]
                self._raise_failures(models)
                if all(model.available for model in models):
                    break
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    missing = ", ".join(model.config.name for model in models if not model.available)
                    raise StartError(f"not available after {timeout_seconds} s: {missing}")
                self._changed.wait(left)
        if self._watching.labels_need_available:
            for model in models:
                for version in model.config.labels.values():
                    if version not in model.bundles:
                        name = model.config.name
                        raise StartError(
                            f"Request to assign label to version {version} of model {name}, which is not currently available for inference"
                        )

    def _raise_failures(self, models: Iterable[_Model]) -> None:
        failed = [
            f"{{name: {model.config.name} version: {status.version}}} due to error: {status.error_code}: {status.error_message}"
            for model in models
            for status in model.versions.values()
            if status.state == "END" and status.version in model.failures
        ]
        if failed:
            raise StartError(f"{len(failed)} servable(s) did not become available: {{{', '.join(failed)}}}")

    def knows(self, name: str) -> bool:
        """Whether there is, or was, a model of that name."""
        return name in self._models

    def find(self, name: str, version: int | None = None, label: str | None = None) -> tuple[int, Bundle]:
        """The version to use, and its bundle. Raises ServingError: NOT_FOUND, or INVALID_ARGUMENT for an unknown label."""
        if not name:
            raise invalid("ModelSpec has no name specified.")
        model = self._models.get(name)
        if label is not None:
            version = model.config.labels.get(label) if model else None
            if version is None:
                raise invalid(f"Unrecognized servable version label: {label}")
        bundles = model.bundles if model else {}
        if version is None:
            if not bundles:
                raise ServingError("NOT_FOUND", f"Servable not found for request: Latest({name})")
            version = max(bundles)
        bundle = bundles.get(version)
        if bundle is None:
            raise ServingError("NOT_FOUND", f"Servable not found for request: Specific({name}, {version})")
        return version, bundle

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """The versions of a model, newest first; only the one asked for where version is given. Raises ServingError: NOT_FOUND."""
        model = self._models.get(name)
        versions = model.versions if model else {}
        if version is not None:
            if version not in versions:
                raise ServingError("NOT_FOUND", f"Could not find version {version} of model {name}")
            return [versions[version]]
        if not versions:
            raise ServingError("NOT_FOUND", f"Could not find any versions of model {name}")
        return [versions[key] for key in sorted(versions, reverse=True)]

    def _watch(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                configs = self._read_configs()
                if configs is not None:
                    self.apply(configs)
            except StartError as error:
                _log.error("the model configuration stays as it was: %s", error)
            waits = [self._tend(model) for model in list(self._models.values())]
            self._wake.wait(min([wait for wait in waits if wait is not None], default=None))

    def _tend(self, model: _Model) -> float | None:
        """Look, load, unload. Returns after how many seconds to come again; None: when something changes."""
        if not model.removed and (model.aspired is None or self._watching.poll_seconds > 0):
            self._look(model)
        aspired = model.aspired if model.aspired is not None else set(model.bundles)
        for version in list(model.failures):
            if version not in aspired:
                del model.failures[version]
        for version in sorted(aspired - model.bundles.keys()):
            if model.failures.get(version, 0) <= self._watching.load_retries and time.monotonic() >= model.next_try.get(version, 0):
                self._load_version(model, version)
            if self._stopping:
                return None
        surplus = model.bundles.keys() - aspired
        if surplus and (not aspired or aspired & model.bundles.keys()):
            for version in sorted(surplus):
                self._unload_version(model, version)
        return self._next_look(model, aspired)

    def _next_look(self, model: _Model, aspired: set[int]) -> float | None:
        waits = [
            max(0.0, model.next_try.get(version, 0) - time.monotonic())
            for version in aspired - model.bundles.keys()
            if model.failures.get(version, 0) <= self._watching.load_retries
        ]
        if model.aspired is None:
            waits.append(_RETRY_MISSING_PATH_SECONDS)
        if self._watching.poll_seconds > 0:
            waits.append(self._watching.poll_seconds)
        return min(waits, default=None)

    def _look(self, model: _Model) -> None:
        config = model.config
        try:
            names = os.listdir(config.base_path)
        except OSError as error:
            if model.aspired is None:
                _log.warning("waiting for the base path of model %s: %s", config.name, error)
            return
        found = [int(name) for name in names if _VERSION_NAME.fullmatch(name) and (config.base_path / name).is_dir()]
        aspired = config.policy.choose(found)
        if not aspired and not model.bundles:
            _log.warning("no versions of model %s found under base path %s", config.name, config.base_path)
            return
        with self._changed:
            if model.config is config and not model.removed:
                model.aspired = aspired

    def _load_version(self, model: _Model, version: int) -> None:
        name = model.config.name
        self._set(model, VersionStatus(version, "LOADING"))
        began = time.monotonic()
        try:
            bundle = self._load(model.config.base_path / str(version))
        except ModelLoadError as error:
            model.failures[version] = model.failures.get(version, 0) + 1
            model.next_try[version] = time.monotonic() + self._watching.retry_seconds
            tries_left = self._watching.load_retries + 1 - model.failures[version]
            _log.error("loading version %d of model %s failed, %d tries left: %s", version, name, tries_left, error)
            if tries_left <= 0:
                self._set(model, VersionStatus(version, "END", error.code, str(error)))
            return
        model.failures.pop(version, None)
        self._set(model, VersionStatus(version, "AVAILABLE"), {**model.bundles, version: bundle})
        settle_garbage()
        _log.info("version %d of model %s is available, loaded in %.0f ms", version, name, (time.monotonic() - began) * 1000)

    def _unload_version(self, model: _Model, version: int) -> None:
        # Calls that are under way hold the bundle; its session ends with the last of them.
        bundles = {key: bundle for key, bundle in model.bundles.items() if key != version}
        self._set(model, VersionStatus(version, "END"), bundles)
        settle_garbage()
        _log.info("version %d of model %s is unloaded", version, model.config.name)

    def _set(self, model: _Model, status: VersionStatus, bundles: dict[int, Bundle] | None = None) -> None:
        with self._changed:
            model.versions = {**model.versions, status.version: status}
            if bundles is not None:
                model.bundles = bundles
            self._changed.notify_all()


def settle_garbage() -> None:
    """Frees what is not used any more, and takes all the rest out of later collections.

    TensorFlow's modules and a model are some 10⁵ objects that stay; a collection walks over all of them, which costs a
    quarter of a second, and a request with a large JSON body is enough to start one.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
