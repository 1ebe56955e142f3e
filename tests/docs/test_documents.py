"""The documents themselves: links lead somewhere, and every page is in the index."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
DOCUMENTS = sorted(file for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "models/*/*.md") for file in PROJECT.glob(pattern))
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _links(file: Path) -> Iterator[str]:
    """Addresses inside the project: what stands in code is no link."""
    for address in _LINK.findall(_FENCE.sub("", file.read_text(encoding="utf-8"))):
        if "://" not in address and not address.startswith("mailto:"):
            yield address


def _anchors(file: Path) -> set[str]:
    """A page's headings as addresses, as code hosts make them."""
    headings = _HEADING.findall(_FENCE.sub("", file.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(PROJECT)))
def test_every_link_leads_somewhere(file: Path) -> None:
    broken = []
    for address in _links(file):
        name, _, anchor = address.partition("#")
        target = (file.parent / name).resolve() if name else file
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(address)
    assert not broken


def test_the_index_has_every_page() -> None:
    index = PROJECT / "docs" / "README.md"
    listed = {(index.parent / address.partition("#")[0]).resolve() for address in _links(index)}
    missing = {page.name for page in (PROJECT / "docs").glob("*.md")} - {page.name for page in listed} - {"README.md"}
    assert not missing
