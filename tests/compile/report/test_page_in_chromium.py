"""The page in a real browser that cannot reach anything."""

import pytest

from isthmus.compile.report import html
from isthmus.compile.report.rows import rows_of

pytestmark = pytest.mark.slow

WIDTHS = (1280, 400)


@pytest.fixture(scope="module")
def page(release, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(html(release, "models/digits"), encoding="utf-8")
    return file


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_offline_without_a_complaint_and_nothing_overflows(browser, page, width, dark):
    browser.open(page, width, dark=dark)
    assert browser.complaints == []
    assert browser.value("document.title") == "digits: prune:80%+int8 · Isthmus"
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.overflowing() == []
    assert browser.value("getComputedStyle(document.body).backgroundColor") == ("rgb(18, 22, 28)" if dark else "rgb(255, 255, 255)")


def test_the_plots_have_as_many_marks_as_there_are_sound_variants(browser, page, release):
    browser.open(page, 1280)
    sound = [row for row in rows_of(release) if not row.problem]
    assert browser.value("[...document.querySelectorAll('figure')].map(it => it.querySelectorAll('circle.dot').length)") == [len(sound)] * 3
    assert browser.value("[...document.querySelectorAll('figure')].map(it => it.querySelectorAll('.mark.chosen').length)") == [1] * 3
    assert browser.value("document.querySelectorAll('.variants tbody tr').length") == len(rows_of(release))
    outside = """[...document.querySelectorAll('figure svg')].flatMap(svg => { const box = svg.getBoundingClientRect();
      return [...svg.querySelectorAll('circle, text')].filter(it => { const at = it.getBoundingClientRect();
        return at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1; }); })
      .map(it => it.outerHTML)"""
    assert browser.value(outside) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_mark_shows_its_values_when_it_has_the_focus(browser, page, width):
    browser.open(page, width)
    browser.value("document.querySelector('.mark.chosen').focus()")
    shown = "[...document.querySelectorAll('.values')].filter(it => getComputedStyle(it).visibility == 'visible').map(it => it.textContent)"
    (values,) = browser.value(shown)
    assert "98.44 %, −0.67 points" in values
    assert "17.69 kB as shipped" in values
    assert browser.value("document.querySelector('.mark.chosen').getAttribute('aria-label')").startswith("prune:80%+int8 (chosen)")


def test_the_bars_are_as_long_as_the_errors(browser, page):
    browser.open(page, 1280)
    bar, one, full = browser.value(
        "(() => { const it = document.querySelector('.bar'); return [it.querySelector('i').getBoundingClientRect().width,"
        " it.querySelector('b').getBoundingClientRect().left - it.getBoundingClientRect().left, it.getBoundingClientRect().width]; })()"
    )
    assert bar / one == pytest.approx(0.91, abs=0.01)
    assert one < full


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_can_be_read(browser, page, dark):
    browser.open(page, 1280, dark=dark)
    browser.value("document.querySelectorAll('details').forEach(it => it.open = true)")
    ratio, where = browser.least_contrast()
    assert ratio >= 4.5, where


def test_headings_tables_and_marks_can_be_found_without_seeing_them(browser, page):
    browser.open(page, 1280)
    assert browser.value("document.documentElement.lang") == "en"
    assert browser.value("document.querySelectorAll('h1').length") == 1
    assert browser.value(
        "[...document.querySelectorAll('section')].every(it => document.getElementById(it.getAttribute('aria-labelledby')))"
    )
    assert browser.value(
        "[...document.querySelectorAll('tbody tr')].every(it => it.querySelector('th[scope=row]') || it.closest('.matrix'))"
    )
    assert browser.value(
        "[...document.querySelectorAll('.mark')].every(it => it.tabIndex === 0 && it.getAttribute('aria-label').length > 20)"
    )


def test_hostile_names_run_nothing_and_ask_for_nothing(browser, renamed, tmp_path):
    evil = (
        """</style></title><script>document.title = 'owned'</script><img src="http://127.0.0.1:1/x" onerror="document.title = 'owned'">"""
    )
    file = tmp_path / "evil.html"
    file.write_text(html(renamed(evil), evil), encoding="utf-8")
    browser.open(file, 400)
    assert browser.complaints == []
    assert browser.value("document.querySelectorAll('img, script').length") == 0
    assert browser.value("document.title").startswith("</style>")
    assert browser.value("document.documentElement.scrollWidth") == 400


def test_the_policy_stops_what_an_escape_forgotten_would_let_in(browser, page, tmp_path):
    file = tmp_path / "broken.html"
    hole = "<script>document.title = 'owned'</script><img src='http://127.0.0.1:1/x.png'></body>"
    file.write_text(page.read_text(encoding="utf-8").replace("</body>", hole), encoding="utf-8")
    browser.open(file, 400)
    assert browser.value("document.title") != "owned"
    assert any("Content Security Policy" in text for text in browser.complaints)


def test_a_page_that_asks_for_something_or_overflows_would_be_noticed(browser, tmp_path):
    file = tmp_path / "bad.html"
    file.write_text(
        "<!doctype html><div style='width: 900px'>x</div><img src='http://127.0.0.1:1/x.png'><script>console.error('e')</script>"
    )
    browser.open(file, 400)
    assert any("127.0.0.1:1" in text or "ERR_" in text for text in browser.complaints)
    assert browser.value("document.documentElement.scrollWidth") > 400
    assert browser.overflowing()
