from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import IntegrityError
from isthmus.release import deflate


def packed(folder: Path, data: bytes) -> Path:
    (folder / "plain").write_bytes(data)
    deflate.pack(folder / "plain", folder / "packed")
    return folder / "packed"


@given(
    data=st.one_of(
        st.binary(max_size=5000),
        st.integers(0, 3 << 20).map(bytes),
        st.integers(0, 3 << 20).map(lambda size: np.random.default_rng(size).bytes(size)),
    )
)
def test_what_was_packed_is_unpacked_and_its_size_is_the_one_foretold(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("law")
    file = packed(folder, data)
    deflate.unpack(file, folder / "again", size_bytes=len(data), name="model")
    assert (folder / "again").read_bytes() == data
    assert file.stat().st_size == deflate.packed_bytes(data) <= deflate.largest_packed_bytes(len(data))


def test_a_small_file_that_unpacks_to_a_large_one_is_ended_at_the_size_that_was_promised(tmp_path: Path) -> None:
    file = packed(tmp_path, bytes(64 << 20))
    assert file.stat().st_size < 1 << 20
    with pytest.raises(IntegrityError, match="longer than 3000000 bytes"):
        deflate.unpack(file, tmp_path / "out", size_bytes=3_000_000, name="model")
    assert (tmp_path / "out").stat().st_size <= 3_000_000
