import builtins
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from isthmus.compile.report import page as report
from isthmus.compile.report.page import LAYERS_SHOWN, html
from isthmus.errors import PlatformError
from isthmus.pages.rendering import template
from isthmus.release.manifest import Candidate, Layer

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


def test_a_layer_whose_name_the_converter_fused_is_called_by_its_own(release):
    names = ("net/norm_1/batchnorm/mul_1;net/depthwise_1/depthwise;net/norm_1/batchnorm/mul", "net/a;net/b/b", "net/a;net/c/c", "net/dense")
    layers = tuple(Layer(name, (3,), 8, 0.5, 1.0) for name in names)
    candidates = tuple(replace(it, layers=layers if it.recipe == "int8" else ()) for it in release.record.candidates)
    page = html(replace(release, record=replace(release.record, candidates=candidates)), "m")
    for shown, whole in zip(("net/depthwise_1/depthwise", *names[1:]), names, strict=True):
        assert f'title="{whole}">{shown}<span>' in page


def test_a_size_says_what_it_is_smaller_than(release):
    assert "3.80× smaller than the float32 file" in html(release, "m")
    others = tuple(it for it in release.record.candidates if it.recipe != "float32")
    page = html(replace(release, record=replace(release.record, candidates=others)), "m")
    assert "4.63× smaller than the SavedModel" in page
    assert "“Smaller” is against the SavedModel, 402.1 kB on disk" in page


def test_times_are_as_people_write_them(release):
    assert "2026-11-23 21:40 UTC" in html(release, "m")
    assert "measured some day" in html(replace(release, record=replace(release.record, measured_at="measured some day")), "m")


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


def test_a_release_for_servers_alone_shows_what_it_has(release):
    served = Candidate("serving-only", 402_118, 0, 446 / 450, 2e-7, 1e-8, 1.3, 1.9, confusion=release.record.source_confusion)
    manifest = replace(release.manifest, recipe="serving-only", variants=release.manifest.variants[:1])
    record = replace(release.record, edge=None, candidates=(served,), reason="serving-only, as asked for: 402.1 kB")
    page = html(replace(release, manifest=manifest, record=record), "models/digits")
    for text in (
        "Chosen: <strong>serving-only</strong>, as asked for: 402.1 kB",
        "SavedModel, for servers alone",
        "time of one REST call, p50",
    ):
        assert text in page
    for text in ("as shipped", "memory at its peak", "weight error", "<svg", "Operators and training", "smaller"):
        assert text not in page
    assert "Who is taken for whom" in page
