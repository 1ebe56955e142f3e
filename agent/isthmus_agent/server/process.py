"""The life of a server's process that has a content: load, test, say so, serve."""

import hashlib
import signal
from pathlib import Path
from typing import BinaryIO

from isthmus_agent import channel
from isthmus_agent.channel import Channel, Start
from isthmus_agent.formats import bundle, digests
from isthmus_agent.formats.halves import Halves
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.policy import Policy
from isthmus_agent.formats.report import Reason
from isthmus_agent.server import living, selftest, shadow
from isthmus_agent.server.fallback import Fallback
from isthmus_agent.server.halves import Parted
from isthmus_agent.server.loop import trim
from isthmus_agent.server.manifest import Manifest
from isthmus_agent.server.model import InterpreterError, Model
from isthmus_agent.server.sampling import Sampling
from isthmus_agent.server.service import Service
from isthmus_agent.server.shadow import Arrays

_PIECE_BYTES = 1 << 20


class _UnfitError(Exception):
    """Why nothing is served."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def run(start: Start, control: Channel) -> int:
    """Serves until the manager has it end. The process's status: 0 where it was drained."""
    try:
        signal.setitimer(signal.ITIMER_REAL, start.limits.self_test_seconds)
        inputs, before = _before(start)  # what this may cost is no fault of the content
        control.send(channel.LOADED)
        signal.setitimer(signal.ITIMER_REAL, start.limits.self_test_seconds)
        model, min_confidence, policy, halves = _tested(start)
        asked = start.fallback
        moved = _moved(model, inputs, before)
        signal.setitimer(signal.ITIMER_REAL, 0)

        def make(fallback: Fallback | None, sampling: Sampling) -> Service:
            return Service(
                model,
                start.digest,
                start.about,
                fallback,
                min_confidence=min_confidence,
                policy=policy if asked and asked.follows_policy else None,
                parted=Parted(halves, model, fallback, 1000 * asked.timeout_seconds)
                if halves and fallback and asked and asked.sends_features
                else None,
                sampling=sampling,
                moved_millionths=moved,
            )

        living.live(start, control, make, version=model.manifest.version)
    except _UnfitError as unfit:
        control.send(channel.UNFIT, reason=int(unfit.reason), text=str(unfit)[: channel.MOST_TEXT_CHARACTERS])
        return 1
    except EOFError:  # the manager is gone
        return 1
    return 0


def _tested(start: Start) -> tuple[Model, float, Policy | None, Halves | None]:
    """The model, loaded and tested, what the content says of `min_confidence`, its policy, and its halves. Raises _UnfitError."""
    try:
        with Path(start.content).open("rb") as content:
            _check_digest(content, start.digest)
            manifest = Manifest.from_bytes(bundle.read(content, bundle.MANIFEST))
            model = Model(bundle.read(content, bundle.MODEL), manifest, threads=start.limits.threads, most_batch=start.limits.most_batch)
            min_confidence = bundle.min_confidence(content)
            policy = bundle.policy_for(content, manifest.digest)
            halves = bundle.halves_for(content, manifest.digest)
            if halves and (missing := {it.head for it in halves.ways if it.head} - model.signatures):
                raise FormatError(bundle.HALVES, f"the model has no signature {min(missing)!r}")
            selftest.check(model, bundle.read(content, bundle.GOLDEN))
    except OSError as error:
        raise _UnfitError(Reason.DAMAGED_SLOT, f"the content cannot be read ({type(error).__name__})") from error
    except FormatError as error:
        raise _UnfitError(Reason.BUNDLE_INVALID, str(error)) from error
    except selftest.SelfTestError as error:
        raise _UnfitError(Reason.SELF_TEST_FAILED, str(error)) from error
    except MemoryError:
        raise _UnfitError(Reason.OUT_OF_MEMORY, "there is not enough memory to load the content") from None
    return model, min_confidence, policy, halves


def _before(start: Start) -> tuple[Arrays | None, Arrays | None]:
    """The inputs that both versions are asked, and what the one before answers."""
    inputs = shadow.inputs_of(Path(start.content)) if start.against else None
    found = None if inputs is None else shadow.predictions_before(Path(start.against), inputs, start.limits)
    if found is not None:
        trim()
    return inputs, found


def _moved(model: Model, inputs: Arrays | None, before: Arrays | None) -> int | None:
    """How far the predictions are from those before, in millionths."""
    if inputs is None or before is None:
        return None
    try:
        return shadow.distance_millionths(before, shadow.predictions(model, inputs))
    except InterpreterError:
        return None


def _check_digest(content: BinaryIO, digest: str) -> None:
    """What a disk made of a content since it was verified is found here. Raises _UnfitError."""
    found = hashlib.sha256()
    while piece := content.read(_PIECE_BYTES):
        found.update(piece)
    if digests.named(found.hexdigest()) != digest:
        raise _UnfitError(Reason.DAMAGED_SLOT, "the content is not what it was")
