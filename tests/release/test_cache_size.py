"""The cache gives up what was not used for longest, and nothing that somebody uses."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import InputError
from isthmus.release import cache as cache_module
from isthmus.release.cache import ReleaseCache
from isthmus.release.cache_size import MAX_SIZE_VARIABLE, CachedRelease, _plan, cached_releases, evict, limit_bytes, parse_size
from isthmus.release.manifest import MANIFEST_NAME, RECORD_NAME, Release

HOLDER = """
import sys
from pathlib import Path
from isthmus.release.cache import ReleaseCache
print(ReleaseCache(Path(sys.argv[1])).find(sys.argv[2]) is not None, flush=True)
sys.stdin.read()
"""
Make = Callable[..., Release]


@pytest.fixture
def cache(tmp_path: Path) -> ReleaseCache:
    return ReleaseCache(tmp_path / "releases")


def _let_go() -> None:
    """As if the process that was given the releases had ended."""
    for descriptor in cache_module._holds.values():
        os.close(descriptor)
    cache_module._holds.clear()


def _fill(cache: ReleaseCache, make: Make, *contents: bytes) -> list[str]:
    """Releases, used in this order one hour after the other, that no process holds. Returns their digests."""
    digests = []
    for index, content in enumerate(contents):
        release = make(model=content)
        (release.directory / MANIFEST_NAME).write_bytes(release.manifest.to_bytes())
        (release.directory / RECORD_NAME).write_bytes(release.record.to_bytes())
        published = cache.publish(release.directory, f"key{index}")
        os.utime(published.directory, (index * 3600, index * 3600))
        digests.append(published.digest)
    _let_go()
    return digests


def _there(cache: ReleaseCache) -> list[str]:
    return [release.digest for release in cached_releases(cache)]


def test_what_was_not_used_for_longest_goes_first(cache: ReleaseCache, make_release: Make) -> None:
    first, second, third = _fill(cache, make_release, b"1" * 1000, b"2" * 1000, b"3" * 1000)
    assert _there(cache) == [first, second, third]
    sizes = {release.digest: release.size_bytes for release in cached_releases(cache)}
    done = evict(cache, sizes[second] + sizes[third])
    assert [release.digest for release in done.removed] == [first]
    assert done.left_bytes == sizes[second] + sizes[third]
    assert _there(cache) == [second, third]
    assert cache.get("key0") is None
    assert not (cache.directory / "keys" / "key0").exists()
    assert list((cache.directory / "work").iterdir()) == []


def test_a_use_makes_a_release_young_again_and_looking_at_the_list_does_not(cache: ReleaseCache, make_release: Make) -> None:
    first, second = _fill(cache, make_release, b"1", b"2")
    before = cached_releases(cache)
    assert cached_releases(cache) == before
    assert cache.get("key0") is not None
    _let_go()
    assert _there(cache) == [second, first]


def test_a_dry_run_says_the_same_and_removes_nothing(cache: ReleaseCache, make_release: Make) -> None:
    digests = _fill(cache, make_release, b"1", b"2", b"3")
    planned = evict(cache, 0, dry_run=True)
    assert _there(cache) == digests
    assert evict(cache, 0) == planned
    assert _there(cache) == []


def test_what_another_process_was_given_stays_until_it_ends(cache: ReleaseCache, make_release: Make) -> None:
    held, other = _fill(cache, make_release, b"1", b"2")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "components")}
    command = [sys.executable, "-c", HOLDER, str(cache.directory), held]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        done = evict(cache, 0)
        assert [release.digest for release in done.removed] == [other]
        assert [release.digest for release in done.held] == [held]
        assert _there(cache) == [held]
    finally:
        holder.kill()
        holder.communicate()
    assert [release.digest for release in evict(cache, 0).removed] == [held]


def test_what_this_process_was_given_stays(cache: ReleaseCache, make_release: Make) -> None:
    (digest,) = _fill(cache, make_release, b"1")
    release = cache.find(digest)
    assert release is not None
    assert evict(cache, 0).removed == ()
    assert cache.find(digest) == release
    _let_go()  # the control: it is the hold that keeps it
    assert [it.digest for it in evict(cache, 0).removed] == [digest]
    assert cache.find(digest) is None


def test_a_release_that_was_just_published_is_not_evicted_before_its_owner_has_it(cache: ReleaseCache, make_release: Make) -> None:
    """Evictions down to nothing all the time, while others publish and read."""
    _fill(cache, make_release)
    releases = [make_release(model=bytes([index])) for index in range(12)]
    for release in releases:
        (release.directory / MANIFEST_NAME).write_bytes(release.manifest.to_bytes())
        (release.directory / RECORD_NAME).write_bytes(release.record.to_bytes())
    with ThreadPoolExecutor(4) as threads:
        evictions = [threads.submit(evict, cache, 0) for _ in range(20)]
        published = list(threads.map(lambda release: cache.publish(release.directory), releases))
        for eviction in evictions:
            eviction.result()
    assert all(release.path(release.manifest.golden).read_bytes() == b"{}" for release in published)


def test_a_damaged_entry_is_listed_and_evicted_like_any_other(cache: ReleaseCache, make_release: Make) -> None:
    (digest,) = _fill(cache, make_release, b"1")
    (cache.directory / "entries" / digest.removeprefix("sha256:") / MANIFEST_NAME).write_text("{")
    (listed,) = cached_releases(cache)
    assert (listed.digest, listed.model, listed.recipe) == (digest, "", "")
    assert len(evict(cache, 0).removed) == 1


def test_an_empty_cache_has_nothing_to_list_and_nothing_to_evict(cache: ReleaseCache) -> None:
    assert cached_releases(cache) == []
    assert evict(cache, 0, dry_run=True).removed == ()
    assert not cache.directory.exists()


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("0", 0), ("17", 17), ("5GB", 5 * 10**9), ("1.5 kB", 1500), ("512MiB", 512 << 20), (" 2 tib ", 2 << 40)]
)
def test_a_size_is_a_number_with_a_unit(text: str, size_bytes: int) -> None:
    assert parse_size(text, "--max-size") == size_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1", "5 XB", "1e9", "5GB 3"])
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(InputError, match=r"^--max-size: .* is not a size; expected a number and a unit"):
        parse_size(text, "--max-size")


def test_the_limit_comes_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MAX_SIZE_VARIABLE, raising=False)
    assert limit_bytes() is None
    monkeypatch.setenv(MAX_SIZE_VARIABLE, "2GB")
    assert limit_bytes() == 2 * 10**9


@settings(max_examples=200)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 1000), st.booleans()), max_size=12),
    max_bytes=st.integers(0, 5000),
)
def test_an_eviction_takes_the_oldest_that_are_free_and_no_more_than_needed(sizes: list[tuple[int, bool]], max_bytes: int) -> None:
    releases = [CachedRelease(str(age), "m", "r", size, age, held) for age, (size, held) in enumerate(sizes)]
    plan = _plan(releases, max_bytes)
    total = sum(release.size_bytes for release in releases)
    assert plan.left_bytes == total - sum(release.size_bytes for release in plan.removed)
    assert not any(release.held for release in plan.removed)
    free = [release for release in releases if not release.held]
    assert list(plan.removed) == free[: len(plan.removed)]
    assert plan.left_bytes <= max_bytes or list(plan.removed) == free
    if plan.removed:
        assert plan.left_bytes + plan.removed[-1].size_bytes > max_bytes
