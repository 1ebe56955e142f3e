"""The release store: one S3 bucket, with errors that a user can act on.

Works against AWS and against S3-compatible servers (SeaweedFS, MinIO, Ceph); `s3_client` has how they are spoken to.
"""

import errno
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from isthmus.errors import InputError, IntegrityError, Problem, ResourceFullError, StoreError
from isthmus.release.s3_client import ATTEMPTS, s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CHUNK_BYTES = 1 << 18
KEYS_PER_DELETE = 1000
_DEFAULT_PORTS = {"http": 80, "https": 443}
# A peer that trickles bytes keeps every read within its timeout: a download has a deadline of its own as well.
DOWNLOAD_GRACE_SECONDS = 30.0
MINIMUM_BYTES_PER_SECOND = 16 << 10

Keys: TypeAlias = list[str]


class UnreachableStoreError(StoreError):
    """Nothing answers at the endpoint, or not in time."""


class RefusedCredentialsError(StoreError):
    """The store answers and does not accept the credentials."""


class MissingBucketError(StoreError):
    """There is no such bucket."""


class MissingObjectError(StoreError):
    """There is no such key in the bucket."""


# What S3 servers call these conditions. A HEAD answer has no body, so its code is the bare status.
_REFUSED = {
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AuthorizationHeaderMalformed",
    "InvalidToken",
    "ExpiredToken",
    "403",
    "401",
    "Forbidden",
}
_NO_BUCKET = {"NoSuchBucket"}
_NO_KEY = {"NoSuchKey", "NotFound", "404"}
_EXISTS = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


@dataclass(frozen=True)
class StoreAddress:
    """Where a store is and how to be let in. The credentials appear in no repr and in no error.

    endpoint: URL, such as `http://127.0.0.1:8333`.
    """

    endpoint: str
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, Any], path: str = "store") -> "StoreAddress":
        """The address in a mapping of the same names; `region` may be left out.

        path: where the mapping stands, for the messages. Raises InputError with all that is wrong.
        """
        problems = []
        values = {"region": "us-east-1", **{key: value for key, value in inputs.items() if value is not None}}
        for name in ("endpoint", "region", "access_key", "secret_key"):
            value = values.get(name)
            if not isinstance(value, str) or not value:
                problems.append(Problem(f"{path}.{name}", "missing" if value is None else "empty or not text", "a non-empty text"))
            elif value != value.strip() or not value.isprintable():  # as `config set --secret … < FILE` has it
                problems.append(Problem(f"{path}.{name}", "has blanks around it, or line ends", "a line without them", "set it anew"))
        endpoint = values.get("endpoint")
        if isinstance(endpoint, str) and endpoint:
            problems += endpoint_problems(endpoint, f"{path}.endpoint")
        if problems:
            raise InputError(problems)
        return cls(values["endpoint"].rstrip("/"), values["region"], values["access_key"], values["secret_key"])


def endpoint_problems(endpoint: str, path: str) -> list[Problem]:
    """What is wrong with an endpoint's URL; credentials in it are not repeated."""
    expected = "a URL such as http://127.0.0.1:8333"
    try:
        url = urlsplit(endpoint)
        url.port  # noqa: B018 - raises where the port is no number
    except ValueError:
        return [Problem(path, "not a URL", expected)]
    if url.username is not None or url.password is not None:
        return [Problem(path, "holds credentials", expected, "give them as access_key and secret_key")]
    if url.scheme not in {"http", "https"} or not url.hostname:
        return [Problem(path, f"not a URL: {endpoint!r}", expected)]
    return []


def normal_endpoint(endpoint: str) -> str:
    """The one spelling of an endpoint's URL: lower case, no default port, no slash at the end, loopback as 127.0.0.1.

    What is no URL comes back as it is.
    """
    try:
        url = urlsplit(endpoint.strip())
        host, port = (url.hostname or "").rstrip("."), url.port
    except ValueError:
        return endpoint
    if not host:
        return endpoint
    with suppress(ValueError):
        host = ip_address(host).compressed
    host = "127.0.0.1" if host == "localhost" else f"[{host}]" if ":" in host else host
    shown = "" if port in {None, _DEFAULT_PORTS.get(url.scheme)} else f":{port}"
    return f"{url.scheme}://{host}{shown}{url.path.rstrip('/')}"


@dataclass(frozen=True)
class StoredObject:
    """age_seconds: since it was written, by the store's own clock; never negative."""

    data: bytes
    age_seconds: float


@dataclass(frozen=True)
class ListedObject:
    """age_seconds: since it was written, by the store's own clock; never negative. tag: of its content; empty: not known."""

    key: str
    age_seconds: float
    tag: str = ""


@dataclass(frozen=True)
class Page:
    """Some of the objects of a listing, in the order of their keys. is_last: there are no more."""

    objects: tuple[ListedObject, ...]
    is_last: bool


class Store:
    """One bucket of a store. Threads may share it.

    Every method raises StoreError (or one of its kinds above) with one message for a user.

    is_brief: it gives up after some seconds, for what is shown where it can be had, and left out otherwise.
    """

    def __init__(self, address: StoreAddress, bucket: str, *, is_brief: bool = False) -> None:
        self.address = address
        self.bucket = bucket
        self._is_brief = is_brief

    def __repr__(self) -> str:
        return f"Store({self.address!r}, {self.bucket!r})"

    @property
    def _client(self) -> "S3Client":
        address = self.address
        return s3_client(address.endpoint, address.region, address.access_key, address.secret_key, is_brief=self._is_brief)

    @contextmanager
    def _errors(self, key: str = "") -> Iterator[None]:
        from botocore import exceptions
        from urllib3.exceptions import HTTPError

        try:
            yield
        except exceptions.ClientError as error:
            raise self._refusal(error, key) from error
        except (exceptions.ConnectionError, exceptions.HTTPClientError, HTTPError) as error:
            raise UnreachableStoreError(f"cannot reach the store at {self.address.endpoint} ({type(error).__name__})") from error
        except exceptions.ParamValidationError as error:
            raise StoreError(f"not a name for a bucket or a key: {self.bucket!r}{f', {key!r}' if key else ''}") from error
        except (exceptions.BotoCoreError, ValueError) as error:
            # ValueError: botocore's own for a host name that no URL can hold.
            raise StoreError(f"the store at {self.address.endpoint} cannot be used: {error}") from error

    def _refusal(self, error: Any, key: str) -> StoreError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        where = f"the store at {self.address.endpoint}"
        if code in _REFUSED:
            return RefusedCredentialsError(f"{where} refuses the credentials for bucket {self.bucket!r} ({code})")
        if code in _NO_BUCKET:
            return MissingBucketError(f"{where} has no bucket {self.bucket!r}")
        if code in _NO_KEY and not key:
            return StoreError(f"{where} answers {code}: what listens there is no S3 store")
        if code in _NO_KEY:
            return MissingObjectError(f"bucket {self.bucket!r} of {where} has no {key!r}")
        message = error.response.get("Error", {}).get("Message", "")
        return StoreError(f"{where} answers {code} for bucket {self.bucket!r}{f', key {key!r}' if key else ''}: {message}")

    def check(self) -> bool:
        """Whether the bucket exists. Raises StoreError where the store cannot be reached or refuses the credentials."""
        try:
            with self._errors():
                # Not HEAD: only an answer with a body tells wrong credentials from a missing permission.
                self._client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)
        except MissingBucketError:
            return False
        return True

    def ensure_bucket(self) -> bool:
        """Makes the bucket; False where it exists already and these credentials may use it."""
        if self.check():
            return False
        options: dict[str, Any] = {}
        if self.address.region != "us-east-1":  # S3 refuses to be told its default
            options["CreateBucketConfiguration"] = {"LocationConstraint": self.address.region}
        from botocore.exceptions import ClientError

        with self._errors():
            try:
                self._client.create_bucket(Bucket=self.bucket, **options)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise
                if not self.check():  # somebody else's: check raised, or it vanished again
                    raise
                return False
        return True

    def delete_bucket(self) -> None:
        """Removes the bucket and all that is in it: objects, old versions, unfinished uploads. A missing bucket is fine."""
        try:
            with self._errors():
                for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self.bucket):
                    entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                    self._delete({"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries)
                for uploads in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket):
                    for upload in uploads.get("Uploads", []):
                        self._client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            self.delete(self.list(""))
            with self._errors():
                self._client.delete_bucket(Bucket=self.bucket)
        except MissingBucketError:
            return

    def put(self, key: str, data: bytes | Path, *, only_new: bool = False, over: str = "") -> bool:
        """Writes an object, at once or not at all.

        only_new: unless the key exists. over: only in place of the object with this `tag`. Where that does not hold, nothing is
        written and the answer is False.
        """
        from botocore.exceptions import ClientError

        condition: dict[str, Any] = {"IfNoneMatch": "*"} if only_new else {"IfMatch": over} if over else {}
        with self._errors(key):
            try:
                if isinstance(data, Path):
                    with data.open("rb") as stream:
                        self._client.put_object(Bucket=self.bucket, Key=key, Body=stream, **condition)
                else:
                    self._client.put_object(Bucket=self.bucket, Key=key, Body=data, **condition)
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if condition and (code in _EXISTS or (over and code in _NO_KEY)):
                    return False
                raise
        return True

    def read(self, key: str, *, max_bytes: int) -> StoredObject:
        """An object with its age. Raises IntegrityError where it is larger than max_bytes, MissingObjectError where there is none."""
        answer, chunks = self._open(key, 0, _deadline(max_bytes))
        if answer["ContentLength"] > max_bytes:
            answer["Body"].close()
            raise IntegrityError(f"{key!r} in bucket {self.bucket!r} is larger than {max_bytes} bytes")
        return StoredObject(b"".join(chunks), _seconds_between(answer["LastModified"], _store_time(answer)))

    def get(self, key: str, *, max_bytes: int) -> bytes:
        """The content of an object; errors as for `read`."""
        return self.read(key, max_bytes=max_bytes).data

    def download(self, key: str, path: Path, *, size_bytes: int, at_most: bool = False) -> None:
        """An object's content into a new file, synced to disk. A connection that breaks is taken up where it ended.

        Raises IntegrityError where the object is not size_bytes long (at_most: is longer), StoreError where it comes too slowly,
        ResourceFullError where the disk is full. What a failed download left is removed.
        """
        deadline = _deadline(size_bytes)
        try:
            with path.open("wb") as file:
                for attempt in range(1, ATTEMPTS + 1):
                    try:
                        self._append(key, file, range(0 if at_most else size_bytes, size_bytes + 1), deadline)
                        break
                    except UnreachableStoreError:
                        if attempt == ATTEMPTS:
                            raise
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            path.unlink(missing_ok=True)
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise ResourceFullError(f"no space left for {path} ({size_bytes} bytes)") from error
            raise
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _append(self, key: str, file: Any, sizes_bytes: range, deadline: float) -> None:
        done = file.tell()
        answer, chunks = self._open(key, done, deadline)
        found = done + answer["ContentLength"]
        if found not in sizes_bytes:
            answer["Body"].close()
            expected = f"{sizes_bytes[-1]}" if len(sizes_bytes) == 1 else f"at most {sizes_bytes[-1]}"
            raise IntegrityError(f"{key!r} has {found} bytes, the manifest names {expected}")
        for chunk in chunks:
            file.write(chunk)

    def _open(self, key: str, offset_bytes: int, deadline: float) -> tuple[Any, Iterator[bytes]]:
        """The head of an object's answer, and its content from an offset on, which raises when it ends early or comes too late."""
        span: dict[str, Any] = {"Range": f"bytes={offset_bytes}-"} if offset_bytes else {}
        with self._errors(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=key, **span)
        return answer, self._chunks(key, answer, deadline)

    def _chunks(self, key: str, answer: Any, deadline: float) -> Iterator[bytes]:
        left = answer["ContentLength"]
        # Entering gives the connection's own stream: it hands out what has arrived, and does not wait until a chunk is full.
        with self._errors(key), answer["Body"] as stream:
            while left:
                chunk = stream.read1(min(left, CHUNK_BYTES))
                if not chunk:
                    raise UnreachableStoreError(f"the store at {self.address.endpoint} broke off: {left} bytes of {key!r} are missing")
                if time.monotonic() > deadline:
                    raise StoreError(f"the store at {self.address.endpoint} sends {key!r} too slowly: {left} bytes are missing")
                left -= len(chunk)
                yield chunk

    def tag(self, key: str) -> str:
        """What tells this content of an object from any other, for `put`; empty where there is none."""
        try:
            with self._errors(key):
                return self._client.head_object(Bucket=self.bucket, Key=key)["ETag"]
        except MissingObjectError:
            return ""

    def size_bytes(self, key: str) -> int | None:
        """The size of an object; None where there is none."""
        try:
            with self._errors(key):
                return self._client.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
        except MissingObjectError:
            return None

    def delete(self, keys: Iterable[str]) -> None:
        """Removes objects; those that do not exist are fine."""
        self._delete({"Key": key} for key in keys)

    def _delete(self, entries: Iterable[dict[str, str]]) -> None:
        rest = [*entries]
        while rest:
            batch, rest = rest[:KEYS_PER_DELETE], rest[KEYS_PER_DELETE:]
            with self._errors():
                answer = self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})  # type: ignore[typeddict-item]
            for error in answer.get("Errors", []):
                if error.get("Code") not in _NO_KEY:
                    raise StoreError(
                        f"cannot delete {error.get('Key')!r} in bucket {self.bucket!r}: {error.get('Code')} {error.get('Message')}"
                    )

    def list(self, prefix: str) -> Keys:
        """The keys that start with prefix, sorted."""
        with self._errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            return sorted(entry["Key"] for page in pages for entry in page.get("Contents", []))

    def page(self, prefix: str, *, after: str = "") -> Page:
        """The first of the objects that start with prefix, with their ages: 1,000 at most, by one request. after: a key to begin behind."""
        begin: dict[str, Any] = {"StartAfter": after} if after else {}
        with self._errors():
            answer = self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, **begin)
        now = _store_time(answer)
        found = tuple(
            ListedObject(entry["Key"], _seconds_between(entry["LastModified"], now), entry.get("ETag", ""))
            for entry in answer.get("Contents", [])
        )
        return Page(found, not answer["IsTruncated"])

    def signed_url(self, method: str, key: str, *, valid_seconds: int, only_new: bool = False) -> str:
        """An address by which somebody without credentials may make one kind of request for one object; at most for 7 days.

        method: GET, PUT or DELETE. only_new: the PUT has to have the header `If-None-Match: *`, else the store refuses it.
        """
        operation = {"GET": "get_object", "PUT": "put_object", "DELETE": "delete_object"}[method]
        condition = {"IfNoneMatch": "*"} if only_new else {}
        with self._errors(key):
            return str(
                self._client.generate_presigned_url(
                    operation, Params={"Bucket": self.bucket, "Key": key, **condition}, ExpiresIn=valid_seconds, HttpMethod=method
                )
            )


def _deadline(size_bytes: int) -> float:
    """When a transfer of that size must have ended, by the monotonic clock."""
    return time.monotonic() + DOWNLOAD_GRACE_SECONDS + size_bytes / MINIMUM_BYTES_PER_SECOND


def _store_time(answer: Any) -> datetime | None:
    """By the store's own clock; None where the answer does not say."""
    from email.utils import parsedate_to_datetime

    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date) if date else None


def _seconds_between(then: datetime, now: datetime | None) -> float:
    return max(0.0, (now - then).total_seconds()) if now else 0.0
