"""What the readme of recipes promises of digits, with all of it in between: training, quantising, the proof, the release."""

import asyncio
from pathlib import Path

import pytest

from isthmus.compile import CompileRequest, compile_release
from isthmus.compile.build.edge import float_model
from isthmus.release import deflate
from isthmus.release.cache import ReleaseCache
from isthmus.release.manifest import EDGE, SERVING

PROJECT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def test_pruned_and_in_8_bits_digits_is_18_times_smaller_as_shipped_and_loses_less_than_a_point(tmp_path: Path) -> None:
    request = CompileRequest("digits", "models/digits", "prune:92%+int8", base_directory=PROJECT)
    release = asyncio.run(compile_release(request, ReleaseCache(tmp_path), lambda _: None))
    edge = release.manifest.variant(EDGE)
    shipped = deflate.packed_bytes(release.path(edge.files[0]).read_bytes())
    (candidate,) = release.record.candidates
    assert candidate.shipped_bytes == shipped
    plain = float_model(release.directory / SERVING / "1", "digits.model")
    assert deflate.packed_bytes(plain) >= 18 * shipped  # the file itself, which is larger, all the more
    assert release.manifest.source_accuracy is not None
    assert edge.accuracy is not None
    assert edge.accuracy >= release.manifest.source_accuracy - 0.01
