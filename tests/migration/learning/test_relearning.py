"""A class's policy, solved anew: which documents count, what changed, and what the new policy gains."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isthmus.arguments.policy_file import load_policy
from isthmus.migration.costs import build
from isthmus.migration.learning.relearning import MOST_CHANGES, Learned, documents, learned
from isthmus.migration.policy_file import frame
from isthmus.migration.study import solved, solved_of
from isthmus_agent.formats import told_counts
from isthmus_agent.formats.experience import Experience, Row, meaning_of

EXAMPLE = Path(__file__).parents[3] / "policies" / "cameras.yaml"
SITUATION = load_policy(EXAMPLE.name, EXAMPLE.parent, "file").situation()
BUILT = build(SITUATION)
PLACES, CELLS = BUILT.process.shape
MEANING = meaning_of(frame("camera", SITUATION))
KEY = bytes(range(32))


def seen(device_class="camera", meaning=MEANING, places=PLACES, cells=CELLS) -> Experience:
    """Each cell is followed by the first one, for the most part."""
    return Experience(meaning, device_class, places, cells, {(0, cell): Row(0, {0: 90, cell: 10}) for cell in range(1, CELLS)})


def test_documents_are_read_with_and_without_what_is_around_them_in_a_store():
    found = documents({"a": seen().written(), "b": told_counts.written(seen(), "cameras", "b", KEY), "c": b"x", "d": b""})
    assert found.by_device == {"a": seen(), "b": seen()}
    assert found.warning.startswith("2 of 4 devices' counts could not be read, and are left out: c: ")
    assert documents({"a": seen().written()}).warning == ""


def test_of_many_broken_ones_a_few_are_named_and_all_counted():
    found = documents({f"camera-{it:02}": bytes([it]) for it in range(20)})
    assert found.warning.startswith("20 of 20")
    assert found.warning.endswith("; and 17 more")


def test_a_class_learns_from_its_own_devices_and_from_those_with_the_same_cells():
    contents = {
        "own": seen(),
        "other class": seen("door"),
        "other cells": seen(meaning="sha256:" + "b" * 64),
        "without peers": seen(meaning=meaning_of(frame("camera", replace(SITUATION, peers=None))), places=2),
        "with another place": seen(places=PLACES + 1),
    }
    found = learned(BUILT, "camera", documents({name: it.written() for name, it in contents.items()}))
    assert (found.devices, found.others) == (3, 1)
    # Of three that tell the same each counts.
    assert found.looks == 3 * 100 * (CELLS - 1)
    assert found.built.process.transition[5, 0] > 0.8


def test_without_documents_of_the_class_the_process_is_the_plan_s_to_the_last_digit():
    found = learned(BUILT, "camera", documents({"a": seen("door").written()}))
    assert (found.devices, found.looks) == (0, 0)
    assert found.built is BUILT


def test_the_new_policy_is_no_dearer_than_the_planned_one_under_what_was_learned():
    planned = solved("camera", SITUATION)
    knowledge = learned(planned.built, "camera", documents({f"d{it}": seen().written() for it in range(4)}))
    found = solved_of("camera", knowledge.built)
    it = Learned.of(planned, found, knowledge)
    assert it.cost <= it.planned_cost * (1 + 1e-9)
    assert it.gain == pytest.approx(1 - it.cost / it.planned_cost)
    assert it.choices == int((planned.chosen.next_place != found.chosen.next_place).sum())
    assert 0 < len(it.changes) <= MOST_CHANGES
    transition = knowledge.built.process.transition
    for change in it.changes:
        assert change.learned != change.planned
        assert np.isclose(transition, change.learned).any()
    assert it.data()["transitions"][0]["before"] == it.changes[0].before
