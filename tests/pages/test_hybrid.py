"""The page of a hybrid as it runs, also in a real browser that cannot reach anything."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.markup import EVIL, tags_of
from tests.running import SOME, reading

from isthmus.pages.hybrid import html, live_pages


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("page") / "hybrid.html"
    found.write_text(html(reading()), encoding="utf-8")
    return found


def test_the_page_has_devices_shares_reasons_the_cloud_role_and_the_maps():
    text = html(reading())
    for said in (
        "Hybrid digits",
        "camera-5",
        "policy: network good (14.2 ms), load busy (14 per second)",
        "2 of 3 servers ready",
        "class camera · now on cloud",
        'aria-label="here 25 % cloud 73 % passed on 2 % peer 0 % failed 0 % "',
        "camera-1, camera-4",
    ):
        assert said in text
    assert "<script" not in text
    assert text == html(reading())


def test_a_live_page_asks_for_its_view_and_has_it():
    whole, view = live_pages(reading())
    assert re.findall(r' src="([^"]*)"', whole) == ["/live.js"]
    assert view.strip() in whole
    assert "<html" not in view


def test_whatever_a_device_says_stays_text():
    evil, plain = (html(reading((*SOME[:4], replace(SOME[4], name=it, problem=it)))) for it in (EVIL, "x" * len(EVIL)))
    assert tags_of(evil) == tags_of(plain)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_offline_nothing_overflows_and_every_text_can_be_read(browser: Any, file: Path, width: int, dark: bool):
    browser.check_reads_well(file, width, dark=dark)
