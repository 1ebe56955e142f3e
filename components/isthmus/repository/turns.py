"""A new root, signed in turns: its keys are with several people, each on a machine of their own, and never meet.

A file goes from one to the next. It is the next root as the key ring says it, and each adds a signature; nobody has to trust who had it
before, since everybody looks at what they sign against a key ring of their own. With enough signatures it is put in force by `adopt`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tuf.api.metadata import Metadata, Root

from isthmus.errors import InputError, IntegrityError, Problem
from isthmus.repository.keyring import Keyring
from isthmus.repository.keys import add_signature
from isthmus.repository.objects import ROOT
from isthmus.repository.reading import parsed
from isthmus.repository.roles import root_of


@dataclass(frozen=True)
class Turn:
    """Where the signing stands. data: of the file. mine: keys that signed just now. signed: all that have, by their ids. missing: how many
    more of the keys in force, and of the new ones, have to."""

    data: bytes
    version: int
    mine: tuple[str, ...]
    signed: tuple[str, ...]
    missing: tuple[int, int]

    @property
    def is_complete(self) -> bool:
        """Whether it can be put in force."""
        return self.missing == (0, 0)


def sign(keyring: Keyring, data: bytes | None, now: datetime) -> Turn:
    """Adds the signatures of the root's keys that are at hand, those in force and those of the key ring. data: None: begins a file.

    Raises InputError where the file is not the next root as the key ring says it, KeyNotAtHandError where a key does not sign.
    """
    old = parsed(Root, keyring.anchor(), "the key ring's root.json")
    draft = Metadata(root_of(keyring, old.signed.version + 1, now).signed) if data is None else drafted(keyring, old.signed, data)
    theirs = [key.public.keyid for key in keyring.roles[ROOT].keys]
    before = _signed(old.signed, draft) | _signed(draft.signed, draft)
    for keyid in set(draft.signatures) - before:
        del draft.signatures[keyid]  # torn, or of nobody who may
    for signer in keyring.signers_at_hand({*old.signed.roles[ROOT].keyids, *theirs} - before):
        add_signature(draft, signer)
    in_force, wanted = (_result(it, draft) for it in (old.signed, draft.signed))
    signed = _signed(old.signed, draft) | _signed(draft.signed, draft)
    mine = tuple(sorted(signed - before))
    return Turn(draft.to_bytes(), draft.signed.version, mine, tuple(sorted(signed)), (in_force.missing, wanted.missing))


def drafted(keyring: Keyring, old: Root, data: bytes) -> Metadata[Root]:
    """The root in a file. Raises InputError where it is not the one that follows, or says other keys than the key ring."""
    try:
        draft = parsed(Root, data, "the file")
    except IntegrityError as error:
        raise InputError([Problem("root", str(error).partition("; see")[0], "a root that `isthmus keys sign` has begun")]) from error
    if draft.signed.version != old.version + 1:
        what = f"the file is root {draft.signed.version}, and root {old.version} is in force"
        raise InputError([Problem("root", what, f"root {old.version + 1}", "begin another one: isthmus keys sign")])
    wanted = root_of(keyring, draft.signed.version, draft.signed.expires).signed
    wanted.expires = draft.signed.expires
    if wanted != draft.signed:
        what = "the file says other keys, thresholds or names than the key ring"
        raise InputError([Problem("root", what, "one key ring for all", "take the newest key ring, and do not sign what differs from it")])
    return draft


def _result(above: Root, draft: Metadata[Root]) -> Any:
    return above.get_verification_result(ROOT, draft.signed_bytes, draft.signatures)


def _signed(above: Root, draft: Metadata[Root]) -> set[str]:
    return set(_result(above, draft).signed)
