"""Templates of pages that open offline, and the style that they share."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.errors import PlatformError

if TYPE_CHECKING:
    from jinja2 import Template

_HOME = "isthmus.pages"


@cache
def template(package: str, name: str) -> "Template":
    """A template of a package; it may import from `parts.html.j2`, which all pages share.

    Raises:
        PlatformError: the template engine is not installed.
    """
    try:
        from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise PlatformError("the page needs jinja2, which is not installed. Fix: pip install 'isthmus[cli]'") from error
    loader = ChoiceLoader([PackageLoader(it, ".") for it in dict.fromkeys((package, _HOME))])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).get_template(name)


def style() -> str:
    """The style sheet that all pages share."""
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")
