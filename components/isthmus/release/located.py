"""A bucket and a prefix in it as one URL, `https://s3.example.com/BUCKET/PREFIX`, with credentials from the environment.

The URL never holds the credentials, since URLs are shown.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from isthmus.errors import InputError, Problem
from isthmus.release.store import Store, StoreAddress, endpoint_problems


def located(url: str, path: str, variables: str, environment: Mapping[str, str], example: str) -> tuple[Store, str]:
    """The bucket, and what all keys start with: empty, or ending in "/".

    Args:
        path: where the URL stands, for messages.
        variables: what the names of the variables with the credentials begin with; `AWS_…` is asked after them.
        example: a bucket's name.

    Raises InputError with all that is wrong.
    """
    problems = endpoint_problems(url, path)
    parts = None if problems else urlsplit(url)
    bucket, _, prefix = parts.path.strip("/").partition("/") if parts else ("", "", "")
    if parts and (not bucket or parts.query or parts.fragment):
        expected = f"a URL of an S3 store with the bucket in its path, such as https://s3.example.com/{example} or …/{example}/team-a"
        problems.append(Problem(path, "it names no bucket, or more than that", expected))
    found = {}
    for name, names in credential_variables(variables).items():
        found[name] = next((environment[it] for it in names if environment.get(it)), "")
        if not found[name] and name != "region":
            problems.append(Problem(names[0], "missing", f"a credential of the store in {path}", f"set it, or {names[1]}"))
    if problems or parts is None:
        raise InputError(problems)
    address = StoreAddress(f"{parts.scheme}://{parts.netloc}", found["region"] or "us-east-1", found["access_key"], found["secret_key"])
    return Store(address, bucket), f"{prefix}/" if prefix else ""


def credential_variables(variables: str) -> dict[str, tuple[str, ...]]:
    """Where each credential comes from: the first that is set. variables: as for `located`."""
    return {
        "access_key": (f"{variables}_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
        "secret_key": (f"{variables}_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"),
        "region": (f"{variables}_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
    }
