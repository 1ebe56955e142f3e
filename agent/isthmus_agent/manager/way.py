"""Ways to a repository: the network, a folder that is a mirror of it (a USB stick), and the way that is taken just now."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote

from isthmus_agent.disk import durable
from isthmus_agent.formats.report import Reason
from isthmus_agent.manager.failures import TransportFailure
from isthmus_agent.manager.signing_v4 import Credentials, StoreClock
from isthmus_agent.manager.transport import CHUNK_BYTES, METADATA_PATIENCE, Answer, Patience, Transport

_RANGE: Final = re.compile(r"bytes=(\d{1,18})-")


class Folder(Transport):
    """A mirror in a folder, with `metadata/` and `targets/` in it, asked as if it were the store. url: what the mirror is of."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__()
        self.folder = folder
        self._url = url

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None, *, patience: Patience = METADATA_PATIENCE) -> Iterator[Answer]:
        """The file as an answer: 200, 206 for a range, or 404. Raises TransportFailure where it cannot be read."""
        span = _RANGE.fullmatch((headers or {}).get("Range", ""))
        try:
            descriptor = durable.open_regular(self._file(url))
        except OSError:
            yield Answer(404, "", iter(()))
            return
        with os.fdopen(descriptor, "rb") as file:
            if span:
                file.seek(int(span[1]))
            yield Answer(206 if span else 200, "", self._chunks(file))

    def put(self, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, patience: Patience = METADATA_PATIENCE) -> int:
        """Nothing is ever written into a mirror."""
        return 405

    def _file(self, url: str) -> Path:
        path = PurePosixPath(unquote(url.removeprefix(self._url)))
        if not url.startswith(self._url) or path.is_absolute() or ".." in path.parts:
            raise FileNotFoundError(url)
        return self.folder / path

    def _chunks(self, file: object) -> Iterator[bytes]:
        try:
            while chunk := file.read(CHUNK_BYTES):  # type: ignore[attr-defined]
                yield chunk
        except OSError as error:  # somebody else's disk: not this device's fault
            raise TransportFailure(f"cannot read {self.folder}: {error.strerror or error}") from error


class Way(Transport):
    """The way that is taken just now. One thread asks; others may change it, or give up what is under way.

    folder: taken instead of the network. has_answered: whether the store let this device in since the start, so that the clock is its own.
    """

    def __init__(self, credentials: Credentials | None, clock: StoreClock, *, ca_file: str | None = None) -> None:
        super().__init__(credentials, clock=clock, ca_file=ca_file)
        self._is_known_by_credentials = credentials is not None
        self._store_clock = clock
        self.folder: Folder | None = None
        self.has_answered = False
        self.is_given_up = False

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None, *, patience: Patience = METADATA_PATIENCE) -> Iterator[Answer]:
        """As `Transport.get`, until it is given up."""
        folder = self.folder
        if folder is not None:
            with folder.get(url, headers, patience=patience) as answer:
                yield replace(answer, chunks=self._until_given_up(answer.chunks))
            return
        with super().get(url, headers, patience=patience) as answer:
            if answer.status in (200, 206, 304):
                if not self._is_known_by_credentials:
                    self._store_clock.learn(answer.dates)
                self.has_answered = True
            yield replace(answer, chunks=self._until_given_up(answer.chunks))

    def _until_given_up(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self.is_given_up:
                raise TransportFailure("it was given up", Reason.UNREACHABLE)
            yield chunk
