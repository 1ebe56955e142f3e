"""The loop that brings a device to its fleet's target.

    read the target → fetch its bundle → verify signature, digest and files → self-test → switch → report

It runs in a thread of its own and does one thing at a time. Whatever goes wrong before the switch leaves what is
served untouched. A bundle that is wrong is refused once an attempt; a store that is away is tried again and again.
"""

import logging
import random
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from isthmus.agent import selftest
from isthmus.agent.config import AgentConfig
from isthmus.agent.model import Model
from isthmus.agent.slots import CURRENT, PREVIOUS, Seen, Slots
from isthmus.agent.state import State
from isthmus.errors import IntegrityError, ResourceFullError, StoreError
from isthmus.release import bundle, fleet, signing
from isthmus.release.fleet import Report, Target
from isthmus.release.store import Store

MAX_BACKOFF_SECONDS = 60.0
_LOG = logging.getLogger(__name__)


class Updater:
    """One device's way to its target. `step` is one look at the store; `run` looks until stop is set."""

    def __init__(self, config: AgentConfig, state: State, stop: threading.Event) -> None:
        self._config = config
        self._state = state
        self._stop = stop
        self._store = Store(config.store.address, config.store.bucket)
        self._slots = Slots(config.state_directory, signing.key_id(config.public_key))
        self._report: Report | None = None  # the last word about the target; None while there is no target
        self._reported_at = float("-inf")
        self._untrusted = False  # whether the last look at the store found a target that cannot be verified
        self._failures = 0

    def resume(self) -> None:
        """Serves what was served before the agent was stopped; the store is not needed. Never raises for what is on disk."""
        for link in (CURRENT, PREVIOUS):
            digest = self._slots.digest(link)
            if digest is None:
                continue
            try:
                self._state.model = self._tested(self._slots.path(digest), digest)
            except (IntegrityError, OSError) as error:
                _LOG.error("the %s release cannot be served: %s", link, error)
            else:
                _LOG.info("serving %s as before", digest)
                return

    def run(self) -> None:
        """Resumes, then steps until stop is set; waits between steps, longer and longer while the store is away."""
        with suppress(selftest.StoppedError):
            self.resume()
        while not self._stop.is_set():
            try:
                self.step()
                self._failures = 0
            except selftest.StoppedError:
                break
            except StoreError as error:
                self._failures += 1
                _LOG.warning("%s; still serving %s", error, self._serving_digest or "nothing")
            except Exception:
                # The loop is the device's only way to be mended from afar: it outlives what nobody thought of.
                self._failures += 1
                _LOG.exception("this step failed")
            self._stop.wait(self._pause_seconds())
        with suppress(StoreError):  # a device that was stopped on purpose does not wait to be found silent
            self.withdraw()

    def _pause_seconds(self) -> float:
        pause = min(self._config.poll_seconds * 2.0 ** min(self._failures, 20), max(MAX_BACKOFF_SECONDS, self._config.poll_seconds))
        # A fleet that lost its store must not come back as one.
        return pause * random.uniform(0.5, 1.0) if self._failures else pause * random.uniform(0.9, 1.1)  # noqa: S311

    def step(self) -> None:
        """One look at the store, and what follows from it. Raises StoreError where the store cannot be used."""
        try:
            target = self._target()
        except IntegrityError as error:
            self._refuse_untrusted(error)
            return
        if target is None:
            self.withdraw()
            return
        if self._untrusted:
            self._untrusted, self._report = False, None
        if self._report is None or not self._report.answers(target):
            self._bring(target)
        elif time.monotonic() - self._reported_at >= self._config.heartbeat_seconds:
            self._say(self._report)

    def withdraw(self) -> None:
        """Takes the device's report back: it says nothing any more."""
        if self._report is not None:
            self._report = None
            fleet.remove_report(self._store, self._config.store.prefix, self._config.device)

    def _refuse_untrusted(self, error: IntegrityError) -> None:
        """Says of a target that cannot be verified why it is not followed. What it claims to be is good for naming it only."""
        if not self._untrusted:
            _LOG.error("the target is refused: %s", error)
        claimed = fleet.claimed_target(self._store, self._config.store.prefix)
        if claimed is not None and not (self._untrusted and self._report and self._report.answers(claimed)):
            self._say(self._about(claimed, "refused", f"the target cannot be verified: {error}"))
        elif self._report is not None and time.monotonic() - self._reported_at >= self._config.heartbeat_seconds:
            self._say(self._report)
        self._untrusted = True

    def _target(self) -> Target | None:
        """The target to follow: the store's, or the known one where the store's is played back. None where there is none.

        Raises IntegrityError where it is not signed by the trusted key.
        """
        target = fleet.read_target(self._store, self._config.store.prefix, self._config.public_key)
        if target is None:
            return None
        seen = self._slots.seen
        found = Seen(target.attempt, target.digest)
        if found.attempt < seen.attempt or (found.attempt == seen.attempt and found != seen):
            _LOG.error("target attempt %d for %s is ignored: attempt %d was seen before", found.attempt, found.digest, seen.attempt)
            return self._known()
        return target

    def _known(self) -> Target | None:
        """The newest target that this device was shown, in place of one that cannot be trusted."""
        seen = self._slots.seen
        if not seen.attempt:
            return None
        return Target(self._config.fleet, seen.attempt, seen.digest, self._config.model)

    def _bring(self, target: Target) -> None:
        _LOG.info("attempt %d: %s", target.attempt, target.digest)
        try:
            if self._serving_digest != target.digest:
                self._say(self._about(target, "starting"))
            self._check_addressee(target)
            self._slots.remember(Seen(target.attempt, target.digest))
            self._install(target.digest)
        except (IntegrityError, ResourceFullError, OSError) as error:
            _LOG.error("attempt %d is refused: %s", target.attempt, error)
            self._say(self._about(target, "refused", str(error)))
        except BaseException:
            self._report = None  # nothing was decided: the next step tries again
            raise
        else:
            _LOG.info("attempt %d: serving", target.attempt)
            self._say(self._about(target, "serving"))

    def _check_addressee(self, target: Target) -> None:
        for what, found, own in (("fleet", target.fleet, self._config.fleet), ("model", target.model, self._config.model)):
            if found != own:
                raise IntegrityError(f"the target is for {what} {found!r}, this device is of {what} {own!r}")

    def _install(self, digest: str) -> None:
        """From a digest to a served model. Until the switch, all of it can fail without harm."""
        slot = self._slots.path(digest)
        try:
            model = self._tested(slot, digest)
        except IntegrityError:
            with self._slots.incoming(digest) as folder:
                bundle.fetch(self._store, self._config.store.prefix, digest, self._config.public_key, folder)
                model = self._tested(folder, digest)
        self._slots.switch(digest)
        self._state.model = model

    def _tested(self, folder: Path, digest: str) -> Model:
        """The model in a folder, verified as it lies on disk and tested. Raises IntegrityError."""
        manifest = bundle.verify(folder, digest, self._config.public_key)
        selftest.run(folder, manifest, self._stop)
        return Model(folder, manifest)

    @property
    def _serving_digest(self) -> str:
        return self._state.model.manifest.digest if self._state.model else ""

    def _about(self, target: Target, state: fleet.State, reason: str = "") -> Report:
        return Report(self._config.device, self._config.fleet, target.digest, target.attempt, state, reason)

    def _say(self, report: Report) -> None:
        """Writes the report with what is true now. It is kept also where the store does not take it: the heartbeat brings it."""
        self._report = report
        self._reported_at = float("-inf")
        now = Report(
            **{
                **asdict(report),
                **asdict(self._state.counters),
                "serving_digest": self._serving_digest,
                "endpoint": self._state.endpoint,
                "reported_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "heartbeat_seconds": self._config.heartbeat_seconds,
            }
        )
        fleet.write_report(self._store, self._config.store.prefix, now)
        self._reported_at = time.monotonic()
