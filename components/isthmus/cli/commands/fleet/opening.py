"""`isthmus fleet samples`: samples as they are shown, written out, and removed from the store."""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isthmus.cli.shared.options import Repository
from isthmus.cli.shared.repositories import explained, fleet_of, founded, keyring_of, located_of
from isthmus.errors import InputError, Problem
from isthmus.repository import roster
from isthmus.repository.sampling import Batch, batches, owner_key
from isthmus.words import in_bytes
from isthmus_agent.formats import digests
from isthmus_agent.formats.numbers import MILLION, MINUTE_SECONDS, shown
from isthmus_agent.formats.samples import Sample

FILE_NAME: Final = "samples.jsonl"
MOST_ROWS: Final = 100
_OK: Final = 200


@dataclass(frozen=True)
class Asked:
    """What is typed. key, secret: URIs."""

    fleet: str
    key: str
    out: Path | None
    delete: bool
    secret: str


def opened(options: Repository, asked: Asked, console: Console) -> bool:
    """Whether all could be opened. Raises IsthmusError."""
    keyring = keyring_of(options)
    fleet = fleet_of(keyring, asked.fleet)
    key = owner_key(asked.key, keyring.folder)
    secret = roster.fleet_secret(asked.secret or roster.secret_uri(fleet), keyring.folder)
    found = located_of(options, [fleet])
    table = Table("device", "asked (UTC)", "model", "content", "outcome", "sure", "size", box=None, header_style="dim")
    rows: list[tuple[str, ...]] = []
    done: list[str] = []
    closed: list[str] = []
    count = 0
    with explained(options.keys, found.where), _written(asked.out) as file:
        founded(found.place, keyring)
        for batch in batches(found.place, roster.read(found.place, keyring, fleet), key, secret):
            (closed if batch.why_not else done).append(batch.key)
            if batch.why_not:
                console.print(f"not opened: {shown(batch.key)}: {batch.why_not}", markup=False, highlight=False, soft_wrap=True)
            for sample in batch.samples:
                if file is not None:
                    file.write(f"{json.dumps(data(batch, sample), ensure_ascii=True)}\n")
                if count < MOST_ROWS:
                    rows.append(tuple(_row(batch, sample)))
                count += 1
    if rows:
        for row in sorted(rows):  # by device and time: the names of batches are chance
            table.add_row(*map(Text, row))
        console.print(table)
    if asked.delete:
        with explained(options.keys, found.where):
            found.place.objects.delete(done)
    more = f", of which the first {MOST_ROWS} are shown" if count > MOST_ROWS else ""
    where = f"; {asked.out / FILE_NAME} has them" if asked.out else ""
    left = "; they are no longer in the store" if asked.delete and done else ""
    text = f"{fleet}: {count} samples in {len(done)} batches{more}{where}{left}; {len(closed)} batches not opened"
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    return not closed


def data(batch: Batch, sample: Sample) -> dict[str, Any]:
    """A sample of JSON's types alone. request, answer: the document that was sent; what is none, as its bytes in base64."""
    return {
        "device": batch.device,
        "asked_at": _time(sample) or None,
        "content": sample.digest,
        "model": sample.model,
        "status": sample.status,
        "confidence": None if sample.confidence_millionths is None else sample.confidence_millionths / MILLION,
        "request": _document(sample.request),
        "answer": _document(sample.answer),
    }


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return {"b64": base64.b64encode(body).decode()}


def _time(sample: Sample) -> str:
    return datetime.fromtimestamp(sample.minutes * MINUTE_SECONDS, UTC).strftime("%Y-%m-%dT%H:%MZ") if sample.minutes else ""


def _row(batch: Batch, sample: Sample) -> Iterator[str]:
    yield batch.device
    yield _time(sample) or "not known"
    yield sample.model
    yield digests.shown(sample.digest)
    yield "answered" if sample.status == _OK else f"failed ({sample.status})"
    yield "" if sample.confidence_millionths is None else f"{sample.confidence_millionths / MILLION:.3f}"
    yield in_bytes(len(sample.request) + len(sample.answer))


@contextmanager
def _written(folder: Path | None) -> Iterator[IO[str] | None]:
    """A new file for its owner alone, which is on the disk at the end. Raises InputError where there is one, or it cannot be."""
    if folder is None:
        yield None
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(folder / FILE_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii")
    except OSError as error:
        problem = Problem("--out", f"{folder / FILE_NAME}: {error.strerror}", "a folder without one, that may be written")
        raise InputError([problem]) from error
    with file:
        yield file
        file.flush()
        os.fsync(file.fileno())
