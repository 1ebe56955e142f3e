import builtins
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from isthmus.compile.report import page as report
from isthmus.compile.report.page import LAYERS_SHOWN, html
from isthmus.errors import PlatformError
from isthmus.pages.rendering import template
from isthmus.release.manifest import Layer

EVIL = """</title></style><script>alert(1)</script><img src="http://127.0.0.1/x" onerror='alert(1)'>"'&{{7*7}}"""


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs


def test_the_page_names_the_release_and_what_made_it(release):
    page = html(release, "models/digits")
    for text in (release.digest, "models/digits", "tensorflow 2.21.0", "litert_quantizer 0.11.0", release.record.machine_class, "✓ chosen"):
        assert text in page
    assert "training took longer than 900 s" in page


def test_the_same_release_gives_the_same_page(release):
    assert html(release, "models/digits") == html(release, "models/digits")


def test_the_page_asks_nobody_for_anything(release):
    tags = _Tags(html(release, "models/digits"))
    assert "script" not in tags.names
    assert [value for name, value in tags.attributes if name in ("src", "href", "action", "data", "srcset")] == ["data:,"]
    policy = dict(tags.attributes)["content"]  # the last; the first of them is the policy
    assert any(value and value.startswith("default-src 'none'") for name, value in tags.attributes if name == "content"), policy
    assert not re.search(r"url\(|@import", html(release, "models/digits"))


def test_whatever_a_name_holds_stays_text(release, renamed):
    plain, evil = _Tags(html(renamed("x" * len(EVIL)), "x")), _Tags(html(renamed(EVIL), EVIL))
    assert plain.names == evil.names
    assert [name for name, _ in plain.attributes] == [name for name, _ in evil.attributes]
    assert "{{7*7}}" in html(renamed(EVIL), EVIL)


def test_of_many_layers_those_with_the_largest_error_are_shown(release):
    layers = tuple(Layer(f"layer-{index}", (3,), 8, float(index % 50), 50.0) for index in range(100))
    candidates = tuple(replace(it, layers=layers) if it.recipe == "int8" else replace(it, layers=()) for it in release.record.candidates)
    page = html(replace(release, record=replace(release.record, candidates=candidates)), "m")
    assert page.count('<div class="bar') == LAYERS_SHOWN
    assert "layer-49<" in page
    assert "layer-0<" not in page
    assert f"{LAYERS_SHOWN} of 100 layers" in page


def test_a_layer_that_is_worse_than_min_max_stands_out(release):
    layers = (Layer("good", (3,), 8, 0.5, 1.0), Layer("bad", (3,), 8, 1.5, 1.0), Layer("zeros", (3,), 8, 0.0, 0.0))
    candidates = tuple(replace(it, layers=layers if it.recipe == "int8" else ()) for it in release.record.candidates)
    page = html(replace(release, record=replace(release.record, candidates=candidates)), "m")
    assert page.count("bar worse") == 1
    assert ">exact<" in page


def test_many_classes_show_the_chosen_variant_beside_the_source_only(release):
    many = tuple(tuple(9 * (row == column) for column in range(50)) for row in range(50))
    candidates = tuple(replace(it, confusion=many) for it in release.record.candidates)
    page = html(replace(release, record=replace(release.record, candidates=candidates, source_confusion=many)), "m")
    assert page.count('<table class="matrix many') == 2
    assert len(page) < 1_500_000


def test_changes_against_the_source_are_said_in_words(release):
    source = ((5, 1), (0, 4))
    candidates = tuple(replace(it, confusion=((4, 2), (0, 4))) for it in release.record.candidates)
    page = html(replace(release, record=replace(release.record, candidates=candidates, source_confusion=source)), "m")
    assert "0 answered as 0: 5 → 4; 0 answered as 1: 1 → 2." in page


@pytest.mark.parametrize("kept", ["nothing recorded", "no evaluation data", "no serving variant"])
def test_a_release_of_which_less_is_known_has_a_page_too(release, kept):
    record, manifest = release.record, release.manifest
    if kept == "nothing recorded":
        record = replace(record, candidates=(), reason="", source_confusion=())
    elif kept == "no evaluation data":
        record = replace(
            record, candidates=tuple(replace(it, accuracy=None, confusion=()) for it in record.candidates), source_confusion=()
        )
        manifest = replace(manifest, source_accuracy=None, evaluation_examples=0)
    else:
        manifest, record = replace(manifest, variants=manifest.variants[1:]), replace(record, serving=None)
    page = html(replace(release, manifest=manifest, record=record), "m")
    assert release.manifest.model in page
    assert ("largest difference to the source" in page) == (kept == "no evaluation data")
    assert "None" not in page
    assert "nan" not in page.lower().replace("naN", "")


def test_without_the_template_engine_one_message_says_what_to_install(release, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "jinja2":
            raise ImportError(name)
        return real(name, *rest)

    template.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PlatformError, match=r"pip install 'isthmus\[cli\]'"):
        report.ready()
    template.cache_clear()
