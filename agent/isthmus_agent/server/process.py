"""The life of a server's process that has a content: load, test, say so, serve."""

import hashlib
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from isthmus_agent import channel
from isthmus_agent.channel import Channel, Start
from isthmus_agent.formats import bundle, digests
from isthmus_agent.formats.halves import Halves
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.policy import CLOUD, Policy
from isthmus_agent.formats.report import Reason
from isthmus_agent.server import living, selftest, shadow
from isthmus_agent.server.answers import BY_PEER, Asker
from isthmus_agent.server.fallback import Fallback
from isthmus_agent.server.loop import trim
from isthmus_agent.server.manifest import Manifest
from isthmus_agent.server.model import InterpreterError, Model
from isthmus_agent.server.sampling import Sampling
from isthmus_agent.server.service import Service
from isthmus_agent.server.shadow import Arrays

if TYPE_CHECKING:  # what only some devices do takes memory, of which the others have better use
    from isthmus_agent.server.fused_answers import FusedAnswers
    from isthmus_agent.server.halves import Parted

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
        tested = _tested(start)
        model, policy = tested.model, tested.policy
        peers, fused = _peers(start, policy, model.manifest.version), _fused(start, tested.signed, control)
        asked = start.fallback
        moved = _moved(model, inputs, before)
        signal.setitimer(signal.ITIMER_REAL, 0)

        def make(fallback: Fallback | None, sampling: Sampling) -> Service:
            places = {name: Fallback(it, 0.0, _deadline_seconds(start), by=BY_PEER) for name, it in peers.items()}
            if fallback is not None and asked is not None and asked.follows_policy:
                places[CLOUD] = fallback
            return Service(
                model,
                start.digest,
                start.about,
                fallback,
                min_confidence=tested.min_confidence,
                policy=policy,
                places=places,
                parted=_parted(tested, fallback, asked),
                sampling=sampling,
                fused=fused,
                moved_millionths=moved,
            )

        living.live(start, control, make, version=model.manifest.version, others=[*peers.values()], fused=fused)
    except _UnfitError as unfit:
        control.send(channel.UNFIT, reason=int(unfit.reason), text=str(unfit)[: channel.MOST_TEXT_CHARACTERS])
        return 1
    except EOFError:  # the manager is gone
        return 1
    return 0


def _peers(start: Start, policy: Policy | None, version: int) -> Mapping[str, Asker]:
    """Those that are places of the policy and may be asked, by the places' names."""
    if policy is None or start.peers is None:
        return {}
    from isthmus_agent.server.peers import asked_by

    return asked_by(policy, start.peers, start.limits, version)


def _deadline_seconds(start: Start) -> float | None:
    """Of requests that say none, where a peer is asked for them."""
    own = start.peers.deadline_seconds if start.peers else None
    return own if own is not None or start.fallback is None else start.fallback.deadline_seconds


@dataclass(frozen=True)
class _Tested:
    """A content that can be served: its model, loaded and tested, and what else it says."""

    model: Model
    min_confidence: float
    policy: Policy | None
    signed: bundle.SignedGroup | None
    halves: Halves | None


def _tested(start: Start) -> _Tested:
    """The content, read and tested. Raises _UnfitError."""
    try:
        with Path(start.content).open("rb") as content:
            _check_digest(content, start.digest)
            manifest = Manifest.from_bytes(bundle.read(content, bundle.MANIFEST))
            model = Model(bundle.read(content, bundle.MODEL), manifest, threads=start.limits.threads, most_batch=start.limits.most_batch)
            min_confidence = bundle.min_confidence(content)
            policy = bundle.policy_for(content, manifest.digest)
            signed = bundle.group_for(content, manifest.digest)
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
    return _Tested(model, min_confidence, policy, signed, halves)


def _parted(tested: _Tested, fallback: Fallback | None, asked: channel.Fallback | None) -> "Parted | None":
    """The ways to split the network; None where there are none, or the device may not send what its first layers make."""
    if tested.halves is None or fallback is None or asked is None or not asked.sends_features:
        return None
    from isthmus_agent.server.halves import Parted

    return Parted(tested.halves, tested.model, fallback, 1000 * asked.timeout_seconds)


def _fused(start: Start, signed: bundle.SignedGroup | None, control: Channel) -> "FusedAnswers | None":
    """The device's part in the content's group; None where it has none."""
    if signed is None or start.view is None or start.view.name not in signed.group.places:
        return None
    from isthmus_agent.server.fused_answers import FusedAnswers

    return FusedAnswers(signed, start.view, control)


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
