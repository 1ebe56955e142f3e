"""What is in a page's markup: for tests that nothing of what it shows becomes a part of it."""

from html.parser import HTMLParser

EVIL = """</title></style><script>document.title = 'owned'</script><img src="http://127.0.0.1:1/x" onerror="alert(1)">"""
"""What a name may hold that wants to be markup."""


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def tags_of(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """The elements of a page, each with the names of its attributes."""
    return _Tags(text).found
