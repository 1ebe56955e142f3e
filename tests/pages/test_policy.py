"""The page of a migration policy, also in a real browser that cannot reach anything."""

import re
from pathlib import Path

import pytest
from tests.markup import EVIL, tags_of

from isthmus.arguments.policy_file import load_policy
from isthmus.migration.study import study
from isthmus.pages.policy import heat_maps, html

EXAMPLE = Path(__file__).parents[2] / "policies" / "cameras.yaml"


@pytest.fixture(scope="module")
def studies():
    settings = load_policy(EXAMPLE.name, EXAMPLE.parent, "file").model_copy(update={"step_seconds": 120.0})
    return {name: study(name, it, settings.margin_ms) for name, it in settings.situations().items()}


@pytest.fixture(scope="module")
def file(tmp_path_factory, studies):
    found = tmp_path_factory.mktemp("page") / "policy.html"
    found.write_text(html("cameras", studies, {}), encoding="utf-8")
    return found


def test_the_page_has_the_maps_the_rivals_the_week_and_what_it_is_made_from(studies):
    text = html("cameras", studies, {})
    for said in (
        "class camera-old",
        "now on device · temperature cool",
        "follow the user",
        "without its margin",
        "deadlines missed",
        "network poor",
        "180 ms, 2 Mbit/s, 2 % lost",
        "network good, load idle, temperature cool: ",
        "cloud is not allowed",
    ):
        assert said in text
    assert text == html("cameras", studies, {})


def test_every_state_stands_in_one_map(studies):
    found = studies["camera"]
    cells = sum(len(it.places) * sum(len(row) for _, row in it.rows) for it in heat_maps(found))
    assert cells == found.built.process.shape[0] * found.built.process.shape[1]
    process = found.built.process
    for it in heat_maps(found):
        for network, (_, row) in enumerate(it.rows):
            for load, cell in enumerate(row):
                room = process.dimensions[2].levels.index(dict(it.headroom)["temperature"])
                place = process.places.index(it.places[-1])
                assert cell.place == found.chosen.next_place[place, process.cell(network, load, room)]


def test_the_page_asks_nobody_for_anything(studies):
    text = html("cameras", studies, {})
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|<script| src=", text)
    assert re.findall(r'href="([^"]*)"', text) == ["data:,"]


def test_whatever_a_name_holds_stays_text(studies):
    def tags(name):
        return tags_of(html(name, {name: studies["camera"]}, {}))

    assert tags(EVIL) == tags("x" * len(EVIL))


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_offline_nothing_overflows_and_every_text_can_be_read(browser, file, width, dark):
    browser.check_reads_well(file, width, dark=dark)
