"""What names a release: the sha256 of its manifest."""

from typing import TYPE_CHECKING, Any

from isthmus_agent.formats import digests

if TYPE_CHECKING:
    from pydantic_core.core_schema import CoreSchema


class Digest(str):
    """A digest: `sha256:` and 64 hexadecimal digits in lower case. It is a text, and equal to the same text.

    Raises ValueError for any other text.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> "Digest":
        if not is_digest(text):
            raise ValueError(f"not a digest: {text!r}")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, content: bytes) -> "Digest":
        """The digest of a content."""
        return cls(digests.of(content))

    @classmethod
    def from_hex(cls, digits: str) -> "Digest":
        """The digest with these 64 digits. Raises ValueError for anything else."""
        return cls(digests.named(digits))

    @property
    def hex(self) -> str:
        """The 64 digits: what folders and keys in a store are called by."""
        return digests.digits_of(self)

    @property
    def short(self) -> str:
        """The first digits, for people."""
        return digests.shown(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(strict=True))


def is_digest(text: object) -> bool:
    """Whether this is a digest, letter by letter."""
    return isinstance(text, str) and digests.PATTERN.fullmatch(text) is not None


def names_release(text: str) -> bool:
    """Whether a model's source is meant as a digest, right or wrong."""
    return text.startswith(digests.PREFIX)
