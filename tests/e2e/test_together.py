"""A hybrid whose cloud role and fleet go over to a release together, under streams of requests from both sides.

The tests of this file run in order, on one stack. Each version of the model says its number, and is never sure, so that devices ask.
"""

import importlib.util
import json
import re
import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from toolchain.testing import patience

from isthmus.release.cache import ReleaseCache, default_cache_directory
from isthmus.release.hashing import file_sha256
from isthmus.release.manifest import MANIFEST_NAME, SERVING, FileEntry

pytestmark = [pytest.mark.e2e, pytest.mark.in_order, pytest.mark.timeout(600)]

SPEC = importlib.util.spec_from_file_location("isthmus_e2e_streams", Path(__file__).with_name("streams.py"))
streams = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = streams
SPEC.loader.exec_module(streams)

DEVICES = ("one", "two")
MODEL = """
import keras
import numpy as np


def build(version):
    x = keras.Input((4,), name="x")
    layer = keras.layers.Dense(4, activation="softmax", name="out")
    model = keras.Model(x, layer(x))
    layer.set_weights([np.zeros((4, 4), np.float32), np.log(np.float32([0.4 if it == version else 0.2 for it in range(4)]))])
    return model


def first():
    return build(1)


def second():
    return build(2)


def third():
    return build(3)
"""


@pytest.fixture(scope="module")
def world(make_project, digits):
    project = make_project()
    (project.root / "shapes").mkdir()
    (project.root / "shapes" / "__init__.py").touch()
    (project.root / "shapes" / "counted.py").write_text(MODEL)
    (project.root / "fleets" / "pair.yaml").write_text(json.dumps({"name": "pair", "devices": [{"name": it} for it in DEVICES]}))
    made = digits(
        recipe="float32", fleet="fleets/pair.yaml", requests_per_second=1, p95_ms=2000, fallback_timeout_ms=2000,
        waves=[{"devices": ["one"]}, {"percent": 100}],
    )  # fmt: skip
    del made["min_accuracy"], made["samples"], made["model"]

    def up(**changes):
        project.configure(hybrids={"digits": {**made, **changes}})
        return project.up()

    with ExitStack() as stack:
        yield SimpleNamespace(project=project, up=up, stack=stack, streams={})


def everything(world):
    """A stream from the gateway's clients, and one from those of each device."""
    if not world.streams:
        outputs = world.project.outputs()
        urls = {"cloud": outputs["services"]["digits"]["endpoint"], **outputs["fleets"]["digits"]["devices"]}
        world.streams |= {name: world.stack.enter_context(streams.Stream(f"{url}/v1/models/digits:predict")) for name, url in urls.items()}
    return world.streams


def now_only(world, version):
    """From now on nobody gets an answer of any other version, asked as often as that takes to be seen."""
    moment, deadline = time.monotonic(), patience.Deadline(60)
    for name, stream in world.streams.items():
        found = stream.until(lambda answers: len(answers) >= 20, moment, deadline.over)
        assert streams.versions(found) == {version}, (name, found[:5])
        assert len(found) >= 20, name


def served(world, version):
    endpoint = world.project.outputs()["services"]["digits"]["endpoint"]
    return requests.get(f"{endpoint}/v1/models/digits/versions/{version}", timeout=10)


def is_available(reply):
    return reply.status_code == 200 and reply.json()["model_version_status"][0]["state"] == "AVAILABLE"


def test_the_first_release_serves_on_both_sides(world):
    done = world.up(model="shapes.counted:first", version=1)
    assert done.code == 0, done
    everything(world)
    now_only(world, 1)


def test_a_release_replaces_another_and_no_request_is_lost_nor_answered_by_what_was_withdrawn(world):
    began = time.monotonic()
    done = world.up(model="shapes.counted:second", version=2)
    assert done.code == 0, done
    now_only(world, 2)
    assert not is_available(served(world, 1))
    for name, stream in world.streams.items():
        found = stream.since(began)
        assert streams.versions(found) == {1, 2}, name
        own = [it.version for it in found if it.by != "cloud"]
        assert own == sorted(own), name  # nobody goes back
    asked = [it for name in DEVICES for it in world.streams[name].since(began) if it.by == "cloud"]
    # Devices that were late asked for the version before while the cloud role had the new one.
    first_of_cloud = min(it.ended for it in world.streams["cloud"].since(began) if it.version == 2)
    assert [it for it in asked if it.version == 1 and it.began > first_of_cloud]


def test_a_second_update_changes_nothing(world):
    done = world.project.up_without_changes()
    assert done.code == 0, done


def test_a_wave_that_fails_takes_the_release_back_in_the_cloud_role_too(world, eventually):
    began = time.monotonic()
    done = world.up(model="shapes.counted:third", version=3, probation={"seconds": 1, "max_memory_megabytes": 1})
    assert done.code != 0, done
    assert re.search(r"is aborted in wave .*: 1 of 1 devices failed", done.text), done
    assert "the cloud role has taken version 3 back too, and answers with version 2" in done.text, done
    assert "Traceback" not in done.text
    digest = world.project.outputs()["fleets"]["digits"]["digest"]
    eventually(lambda: all(health(it)["digest"] == digest for it in devices(world)), seconds=60)
    now_only(world, 2)
    assert not is_available(served(world, 3))
    assert 3 in streams.versions(world.streams["cloud"].since(began))
    assert streams.versions(world.streams["two"].since(began)) == {2}  # the second wave was never opened


def health(stream):
    return requests.get(f"{stream.url.partition('/v1')[0]}/healthz", timeout=10).json()


def devices(world):
    return [world.streams[name] for name in DEVICES]


def test_a_release_that_the_cloud_role_cannot_serve_opens_no_wave(world, monkeypatch):
    monkeypatch.setenv("ISTHMUS_CACHE_DIR", str(world.project.cache))
    began = time.monotonic()
    done = world.up(model=broken(world.project), version=4)
    assert done.code != 0, done
    assert re.search(
        r"cloud side, before the first wave: version 4 .* cannot load version 4: .*No wave was opened; it was taken back", done.text
    ), done
    assert "version 2 answers as before" in done.text, done
    now_only(world, 2)
    assert {version for it in world.streams.values() for version in streams.versions(it.since(began))} == {2}


def broken(project):
    """The digest of a release whose SavedModel is no SavedModel, and whose manifest says so."""
    cache = ReleaseCache(default_cache_directory())
    release = cache.find(project.outputs()["services"]["digits"]["digest"])
    with cache.work_directory() as work:
        directory = work / "release"
        shutil.copytree(release.directory, directory)
        (directory / SERVING / "2").rename(directory / SERVING / "4")
        model = directory / SERVING / "4" / "saved_model.pb"
        model.write_bytes(b"no model")

        def renamed(file):
            path = file.path.replace(f"{SERVING}/2/", f"{SERVING}/4/")
            found = directory / path
            return FileEntry(path, found.stat().st_size, file_sha256(found))

        variants = tuple(replace(it, files=tuple(map(renamed, it.files))) for it in release.manifest.variants)
        manifest = replace(release.manifest, version=4, variants=variants)
        (directory / MANIFEST_NAME).write_bytes(manifest.to_bytes())
        return str(cache.publish(directory).digest)


def test_what_was_aborted_can_be_brought_again(world):
    done = world.up(model="shapes.counted:third", version=3)
    assert done.code == 0, done
    now_only(world, 3)


def test_no_request_of_all_these_was_lost(world):
    lost = {name: stream.lost() for name, stream in world.streams.items()}
    assert not any(lost.values()), lost
    assert min(len(it.answers) for it in world.streams.values()) > 500
