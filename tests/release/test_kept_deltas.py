"""Deltas are made once on a machine; whatever becomes of their folder, they are right."""

from pathlib import Path

import pytest

from isthmus.release import deltas, kept_deltas
from isthmus.release.kept_deltas import KeptDeltas

OLD, NEW = bytes(range(256)) * 4, bytes(range(256)) * 4 + b"new"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The new contents for which a delta was made."""
    found: list[bytes] = []
    make = deltas.make
    monkeypatch.setattr(deltas, "make", lambda old, new: found.append(new) or make(old, new))
    return found


def test_a_delta_is_made_once(tmp_path: Path, made: list[bytes]):
    first = KeptDeltas(tmp_path / "deltas").make(OLD, NEW)
    assert KeptDeltas(tmp_path / "deltas").make(OLD, NEW) == first
    assert made == [NEW]


@pytest.mark.parametrize("damage", [b"", b"short", bytes(200)])
def test_one_that_is_damaged_is_made_again(tmp_path: Path, made: list[bytes], damage: bytes):
    first = KeptDeltas(tmp_path).make(OLD, NEW)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage)
    assert [KeptDeltas(tmp_path).make(OLD, NEW) for _ in range(2)] == [first] * 2
    assert made == [NEW, NEW]


def test_a_folder_that_cannot_be_made_costs_time_and_no_more(tmp_path: Path):
    (tmp_path / "deltas").write_text("a file")
    assert KeptDeltas(tmp_path / "deltas").make(OLD, NEW) == deltas.make(OLD, NEW)


@pytest.mark.parametrize(("name", "most"), [("MOST_FILES", 2), ("MOST_BYTES", 2 * (32 + len(deltas.make(OLD, NEW))) + 9)])
def test_those_go_that_were_used_longest_ago(tmp_path: Path, made: list[bytes], monkeypatch: pytest.MonkeyPatch, name: str, most: int):
    monkeypatch.setattr(kept_deltas, name, most)
    kept = KeptDeltas(tmp_path)
    for end in (b"1", b"2", b"1", b"3", b"1"):
        kept.make(OLD, NEW + end)
    assert made == [NEW + b"1", NEW + b"2", NEW + b"3"]
    kept.make(OLD, NEW + b"2")
    assert made[3:] == [NEW + b"2"]
