"""The page of a fleet's rollout, also in a real browser that cannot reach anything."""

import re
from typing import Any

import pytest
from tests.fleet_standing import WAITING, WORDS, standing
from tests.markup import EVIL, tags_of
from toolchain.testing import patience

from isthmus.pages.fleet import STATES, html, view

MOST_DRAWING_MS = 200
# Puts the page's own content in again, as a live page does, and waits until it is on the screen.
DRAWN_MS = """(async () => { const found = [];
  for (let turn = 0; turn < 5; turn++) {
    const text = document.getElementById('view').innerHTML, began = performance.now();
    document.getElementById('view').innerHTML = text;
    document.body.getBoundingClientRect();
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    found.push(performance.now() - began);
  }
  return Math.min(...found); })()"""


def named(value: Any, text: str) -> Any:
    """The same with a text in place of every one that a device or a user chose."""
    if isinstance(value, dict):
        chosen = {"name", "fleet", "example", "reason", "class"}
        return {
            (text + key if key.startswith("camera-") or " " in key else key): text if key in chosen else named(it, text)
            for key, it in value.items()
        }
    if isinstance(value, list):
        return [text if isinstance(it, str) else named(it, text) for it in value]
    return value


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    found = tmp_path_factory.mktemp("page") / "fleet.html"
    found.write_text(html(standing(10_000)), encoding="utf-8")
    return found


def test_the_page_says_in_words_all_that_it_draws():
    found = standing()
    text = html(found)
    for wave in found["waves"]:
        for state, count in (wave["counts"] or {"closed": wave["devices"]}).items():
            assert not count or f"{count:,} {STATES[state]}" in text
    assert {state for wave in found["waves"] for state, count in (wave["counts"] or {"closed": 1}).items() if count} == set(STATES)
    for said in (
        "rolled back",
        "crashed: said so",
        "self test failed",
        "disk full",
        "one identity on two devices",
        "0 s of the 60 min",
        "40 devices a minute may begin",
        "this release",
    ):
        assert said in text
    assert found["waves"][1]["verdict"]["reason"] in text
    assert html(found) == text


def test_who_waits_for_its_turn_is_said_with_whom_it_waits_for():
    found = standing()
    assert "Waiting for their turn" not in html(found)
    found["turns"] = WAITING
    text = html(found)
    for said in ("1,203 devices, by the budget for the label site.", "<dt>site north</dt>", "<dt>without site</dt>", *WORDS):
        assert said in text


def test_what_is_out_of_the_ordinary_is_said_at_the_top():
    assert "isthmus fleet resume" in html(standing(paused=True))
    assert "was not read" in html(standing(is_read=False))
    stopped = standing()
    stopped["waves"][0]["state"] = "aborted"
    assert "Wave canary aborts this release." in html(stopped)


def test_the_page_asks_nobody_for_anything_and_a_live_one_its_command_alone():
    text = html(standing())
    assert "default-src 'none'" in text
    assert not re.search(r"url\((?!#)|@import|<script| src=|script-src", text)
    assert re.findall(r'href="([^"]*)"', text) == ["data:,"]
    live = html(standing(), live=True)
    assert re.findall(r' src="([^"]*)"', live) == ["/live.js"]
    assert "script-src 'self'; connect-src 'self'" in live
    assert view(standing()) in live


def test_a_page_of_many_devices_is_hardly_larger_than_one_of_few():
    assert len(html(standing(20_000))) < 1.2 * len(html(standing(1_000)))


def test_whatever_a_device_or_a_name_says_stays_text():
    assert tags_of(html(named(standing(), EVIL))) == tags_of(html(named(standing(), "x" * len(EVIL))))


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_offline_nothing_overflows_and_every_text_can_be_read(browser, file, width, dark):
    browser.check_reads_well(file, width, dark=dark)


def test_ten_thousand_devices_are_drawn_at_once(browser, file):
    browser.open(file, 1280)
    assert browser.value(DRAWN_MS) <= 1000 * patience.scaled(MOST_DRAWING_MS / 1000)


def test_every_state_has_its_cells_on_the_screen(browser, file):
    """Each pattern is really filled in: colours are of the page, and not of the void."""
    browser.open(file, 1280)
    seen = "[...document.querySelectorAll('.cells path')].map(it => it.getAttribute('fill'))"
    fills = set(browser.value(seen))
    assert fills == {f"url(#cell-{state})" for state in STATES}
    assert browser.value("[...document.querySelectorAll('pattern')].map(it => it.id).every(it => document.getElementById(it))")
    sizes = browser.value(
        "[...document.querySelectorAll('.cells')].map(it => [it.getBoundingClientRect().width, it.viewBox.baseVal.width])"
    )
    assert all(width > 0 and width % (unit / 10) == 0 for width, unit in sizes)


def test_a_keyboard_gets_to_everything_that_scrolls_or_opens(browser, file):
    browser.open(file, 400)
    hidden = """[...document.querySelectorAll('*')]
      .filter(it => it.scrollWidth > it.clientWidth + 1 && getComputedStyle(it).overflowX == 'auto')
      .filter(it => it.tabIndex < 0 || !(it.getAttribute('aria-label') || it.getAttribute('aria-labelledby')))
      .map(it => it.outerHTML.slice(0, 80))"""
    assert browser.value(hidden) == []
    assert browser.value("[...document.querySelectorAll('svg[role=img]')].every(it => it.getAttribute('aria-label'))")
    ids = browser.value("[...document.querySelectorAll('[id]')].map(it => it.id)")
    assert len(ids) == len(set(ids))


def test_hostile_names_run_nothing(browser, tmp_path):
    evil = tmp_path / "evil.html"
    evil.write_text(html(named(standing(), EVIL)), encoding="utf-8")
    browser.check_runs_nothing(evil)
