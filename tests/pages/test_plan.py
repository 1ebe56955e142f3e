"""The page of a stack's plan, also in a real browser that cannot reach anything."""

import re

import pytest
from tests.markup import EVIL, tags_of

from isthmus.pages.plan import html
from isthmus.sizing.asking.deployed import stack_plan
from isthmus.sizing.asking.what_if import scenario_of
from isthmus.sizing.headroom import Headroom
from isthmus.sizing.service import ServiceInputs, plan_service

INPUTS = ServiceInputs(200, 50, 120, scv=0.3, measured_on="x86_64 2 cores", kinds=("cpu-2",), headroom=Headroom(zones=3, lost_zones=1))
NAMED = ServiceInputs(300, 50, 120, speeds=(4, 2, 1), kinds=("cpu-8", "cpu-4", "cpu-2"), balancing="weighted")
FLEET_PLAN = {
    "devices": 3,
    "p95_ms": 0.035,
    "bundle_bytes": 17690,
    "releases_per_month": 1.0,
    "price_per_gigabyte_shipped": 0.09,
    "cost_per_month": 0.01,
    "currency": "USD",
    "prices_as_of": "2026-11-23",
}

WAVE = {"devices": 3, "full_bytes": 53_070, "delta_bytes": None, "seconds": 361.0, "window_seconds": 72_000.0, "cost": 0.0, "most_hurt": 2}


def page(*asked, text="digits", inputs=(INPUTS, NAMED)):
    release = {"accuracy": 0.99, "metric": text, "evaluation_examples": 450, "size_bytes": 402_118, "recipe": text, "measured_on": text}
    digest = "sha256:" + "ab" * 32
    services = {f"{text}-{index}": {"digest": digest, "plan": {**plan_service(it).output(), **release}} for index, it in enumerate(inputs)}
    waves = [{**WAVE, "name": text, "gate": f"{text}: 3 devices; passes with 0 failures at most"}]
    fleets = {f"{text}-fleet": {"digest": digest, "plan": {**FLEET_PLAN, **release, "waves": waves}}}
    return html(stack_plan(text, services, fleets, scenario_of(asked)))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    found = tmp_path_factory.mktemp("page") / "plan.html"
    found.write_text(page("demand=2x", "lose=zone"), encoding="utf-8")
    return found


def test_the_page_has_the_table_the_answers_and_each_numbers_arithmetic():
    text = page("demand=2x")
    for said in (
        "328.50",
        "What if <strong>demand=2x</strong>?",
        "needed: 6 servers",
        "λ / (c·μ)",
        "17,690 bytes as shipped",
        "6.02 min + up to 20 h",
    ):
        assert said in text
    assert "needed:" not in page()
    assert page() == page()


def test_the_page_asks_nobody_for_anything():
    text = page("demand=2x")
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|<script| src=", text)
    assert re.findall(r'href="([^"]*)"', text) == ["data:,"]


def test_whatever_a_name_holds_stays_text():
    assert tags_of(page(text=EVIL)) == tags_of(page(text="x" * len(EVIL)))


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_offline_nothing_overflows_and_every_text_can_be_read(browser, file, width, dark):
    browser.check_reads_well(file, width, dark=dark)


def test_each_service_has_two_plots_whose_parts_lie_inside_and_whose_marks_say_their_values(browser, file):
    browser.open(file, 1280)
    assert browser.value("document.querySelectorAll('figure svg').length") == 4
    assert browser.value("document.querySelectorAll('figure:nth-of-type(2) .line.needed').length") == 2
    outside = """[...document.querySelectorAll('figure svg')].flatMap(svg => { const box = svg.getBoundingClientRect();
      return [...svg.querySelectorAll('circle, text, polyline')].filter(it => { const at = it.getBoundingClientRect();
        return at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1; }); })
      .map(it => it.outerHTML)"""
    assert browser.value(outside) == []
    browser.value("document.querySelector('.mark.chosen').focus()")
    shown = "[...document.querySelectorAll('.values')].filter(it => getComputedStyle(it).visibility == 'visible').map(it => it.textContent)"
    (values,) = browser.value(shown)
    assert "200 requests/s" in values
    assert "5 needed, 328.50 USD a month" in values


def test_hostile_names_run_nothing(browser, tmp_path):
    evil = tmp_path / "evil.html"
    evil.write_text(page(text=EVIL), encoding="utf-8")
    browser.check_runs_nothing(evil)
