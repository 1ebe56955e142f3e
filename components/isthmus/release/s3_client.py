"""boto3's client of an S3 store, one for all who use an address with the same credentials.

Path-style addressing, checksums only where the operation demands one (many servers do not know the newer defaults), short timeouts
and few retries, because the callers either show the error to a user or retry on their own terms.

boto3 is imported when the first client is made: importing this module costs nothing.
"""

import threading
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from boto3.session import Session
    from mypy_boto3_s3.client import S3Client

CONNECT_TIMEOUT_SECONDS: Final = 3
READ_TIMEOUT_SECONDS: Final = 20
ATTEMPTS: Final = 3
BRIEF_READ_TIMEOUT_SECONDS: Final = 5
BRIEF_ATTEMPTS: Final = 2
"""For what is shown where it can be had, and left out otherwise: nobody waits a minute for it where a store hangs."""
CONNECTIONS: Final = 32
"""Kept open by one client; threads beyond it open some of their own."""
CLIENTS: Final = 16
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_making: Final = threading.Lock()


def s3_client(endpoint: str, region: str, access_key: str, secret_key: str, *, is_brief: bool = False) -> "S3Client":
    """The client; threads may share it. is_brief: see BRIEF_ATTEMPTS. Raises ValueError where no URL can hold the endpoint's host."""
    with _making:  # a session may not make two at once
        return _client(endpoint, region, access_key, secret_key, is_brief)


@lru_cache(maxsize=CLIENTS)  # making one takes longer than most of what it is asked for
def _client(endpoint: str, region: str, access_key: str, secret_key: str, is_brief: bool) -> "S3Client":
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=BRIEF_READ_TIMEOUT_SECONDS if is_brief else READ_TIMEOUT_SECONDS,
        max_pool_connections=CONNECTIONS,
        retries={"total_max_attempts": BRIEF_ATTEMPTS if is_brief else ATTEMPTS, "mode": "standard"},
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A proxy of the environment is never the way to this machine itself.
        proxies={} if urlsplit(endpoint).hostname in _LOOPBACK else None,
    )
    return _session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=config,
    )


@cache
def _session() -> "Session":
    """What has read the description of S3, which takes half of the time that a client does."""
    import boto3

    return boto3.session.Session()
