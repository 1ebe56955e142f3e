"""What all handlers share that keep something in a release store."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from isthmus.errors import IntegrityError, Problem, StoreError
from isthmus.plugin.handler import Context
from isthmus.plugin.schema import Property
from isthmus.plugin.values import UNKNOWN, is_known

if TYPE_CHECKING:
    from isthmus.release.store import Store

_MAX_MARK_BYTES: Final = 1 << 10


def _endpoint(url: Any) -> Any:
    from isthmus.release.store import normal_endpoint

    return normal_endpoint(url) if isinstance(url, str) else url


STORE: Final = Property(
    "object",
    "the store: endpoint (URL), region, access_key, secret_key",
    fields={
        "endpoint": Property("string", "the store's URL", replaces=True, spelling=_endpoint),
        "region": Property("string", "the store's region", required=False),
        "access_key": Property("string", "the access key", secret=True),
        "secret_key": Property("string", "the secret key", secret=True),
    },
)
BUCKET: Final = Property("string", "the bucket's name", replaces=True)
PREFIX: Final = Property("string", "what all keys start with; ends with /", replaces=True)


def open_store(values: Mapping[str, Any]) -> "Store":
    """The bucket that a resource's `store` and `bucket` name. Raises InputError."""
    from isthmus.release.store import Store, StoreAddress

    return Store(StoreAddress.from_inputs(values["store"]), values["bucket"])


def mark(values: Mapping[str, Any], key: str, context: Context) -> None:
    """Leaves the making of a resource in an object of the bucket."""
    open_store(values).put(key, context.making.encode())


def marked(values: Mapping[str, Any], key: str) -> str:
    """The making in an object of the bucket; empty where there is none."""
    from isthmus.release.store import MissingObjectError

    with gone_with_its_store(values), contextlib.suppress(MissingObjectError, IntegrityError):
        return open_store(values).get(key, max_bytes=_MAX_MARK_BYTES).decode(errors="replace")
    return ""


def prefix_problems(inputs: Mapping[str, Any]) -> list[Problem]:
    prefix = inputs["prefix"]
    # Stores that keep objects in folders, and proxies, take . and .. for what they are in paths: another prefix, or another bucket.
    if prefix is UNKNOWN or (prefix.endswith("/") and not {"", ".", ".."} & {*prefix[:-1].split("/")}):
        return []
    return [Problem("prefix", f"is {prefix!r}", "a key prefix that ends with /, of parts that are neither empty nor . or ..")]


def address_problems(inputs: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the store's address as it is written."""
    from isthmus.errors import InputError
    from isthmus.release.store import StoreAddress

    if not is_known(inputs["store"]):
        return []
    try:
        StoreAddress.from_inputs(inputs["store"])
    except InputError as error:
        return list(error.problems)
    return []


def access_problems(inputs: Mapping[str, Any]) -> list[Problem]:
    """What the store itself answers to these credentials, where everything about it is known already."""
    from isthmus.release.store import RefusedCredentialsError

    if not is_known([inputs["store"], inputs["bucket"]]):
        return []
    try:
        if not open_store(inputs).check():
            return [Problem("bucket", f"there is no bucket {inputs['bucket']!r} in {inputs['store']['endpoint']}", "a bucket that exists")]
    except RefusedCredentialsError as error:
        return [Problem("store.access_key", str(error), "credentials that may read and write there")]
    except StoreError as error:
        return [Problem("store.endpoint", str(error), "a store that can be reached")]
    return []


def is_on_this_machine(values: Mapping[str, Any]) -> bool:
    return urlsplit(values["store"]["endpoint"]).hostname in {"127.0.0.1", "localhost", "::1"}


@contextlib.contextmanager
def gone_with_its_store(values: Mapping[str, Any]) -> Iterator[None]:
    """What is in a store of this machine that does not run counts as gone: the store went down with the stack, or the machine
    did. `up` starts the store, and making things there again finds what is still in it. Any other store has to answer.
    """
    from isthmus.release.store import MissingBucketError, UnreachableStoreError

    try:
        yield
    except MissingBucketError:
        return
    except UnreachableStoreError:
        if not is_on_this_machine(values):
            raise
