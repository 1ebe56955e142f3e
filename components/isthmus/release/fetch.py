"""How a server's machine gets a release: a shell script, as a pure function of the release's manifest.

The script runs in any image with a POSIX shell, curl (7.75 or later), and sha256sum, and for an init container and for a
container on a VM it is the same one. It knows every file's sha256, so neither store nor network has to be trusted. What is
there already and right is not fetched again; files are gathered in `.partial` and appear under the version's number all at once.

What differs from place to place comes as environment variables (`environment`), the credentials as two more
(`ACCESS_KEY_VARIABLE`, `SECRET_KEY_VARIABLE`): curl reads them from its standard input, so that no argument list shows them.
"""

import re
import shlex
from dataclasses import dataclass
from urllib.parse import quote

from isthmus.digest import Digest, is_digest
from isthmus.errors import IntegrityError
from isthmus.release.manifest import MANIFEST_NAME, SERVING, Manifest
from isthmus.release.names import release_folder
from isthmus_agent.formats import digests

ACCESS_KEY_VARIABLE = "S3_ACCESS_KEY"
SECRET_KEY_VARIABLE = "S3_SECRET_KEY"  # noqa: S105 - the variable's name

ATTEMPTS = 6
CONNECT_TIMEOUT_SECONDS = 5
MANIFEST_FILE = ".release.json"
"""The manifest's name in the version's folder: model servers do not look at it."""
STALL_SECONDS = 30
"""A transfer that is slower than MINIMUM_BYTES_PER_SECOND for so long is broken off and tried again."""
MINIMUM_BYTES_PER_SECOND = 1024

# sha256sum spells these in a way of its own, and no honest model has them in a file's name.
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class FetchFile:
    """path: in the release, such as `serving/1/saved_model.pb`."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class FetchPlan:
    """What to fetch, and where it goes: `serving/VERSION/PATH` of the release becomes TARGET/VERSION/PATH.

    Raises IntegrityError for what no manifest of ours names: paths out of the version's folder, odd hashes or sizes.
    """

    digest: str
    version: int
    manifest_bytes: int
    files: tuple[FetchFile, ...]

    def __post_init__(self) -> None:
        if not is_digest(self.digest):
            raise IntegrityError(f"not a release digest: {self.digest!r}")
        if self.version < 1 or not self.files:
            raise IntegrityError(f"release {self.digest} names no version or no files")
        for file in self.files:
            parts = file.path.split("/")
            inside = parts[:2] == [SERVING, str(self.version)] and len(parts) > 2 and not {"", ".", ".."} & set(parts)
            if not inside or _UNSPEAKABLE.search(file.path):
                raise IntegrityError(f"release {self.digest} names a file outside of {SERVING}/{self.version}: {file.path!r}")
            if not digests.DIGITS.fullmatch(file.sha256) or file.size_bytes < 0:
                raise IntegrityError(f"release {self.digest} names no sha256 or size for {file.path!r}")

    @property
    def size_bytes(self) -> int:
        """Of all files together; a volume for them needs no more than this and the manifest."""
        return sum(file.size_bytes for file in self.files) + self.manifest_bytes

    def script(self, attempts: int = ATTEMPTS) -> str:
        """The script that fetches and verifies; its exit status is 0 once TARGET/VERSION is complete, whoever put it there.

        Any failure is one line on standard error that names the key and the reason, and a status other than 0.
        attempts: tries of one file; the pauses between them are 1, 2, 4, … seconds.
        """
        return f"{self._head()}ATTEMPTS={attempts}\n{_FETCH}"

    def check_script(self) -> str:
        """The script that only looks (no network): status 0 where TARGET/VERSION is complete and every file right."""
        return self._head() + _CHECK

    def _head(self) -> str:
        """The manifest first: without it there is no release, and that is what the message should say."""
        manifest = FetchFile(MANIFEST_NAME, Digest(self.digest).hex, self.manifest_bytes)
        rows = [_row(manifest, MANIFEST_FILE), *(_row(file, "/".join(file.path.split("/")[2:])) for file in self.files)]
        calls = "\n".join(f'  "$1" {row} || return 1' for row in rows)
        return _HEAD.format(digest=self.digest, version=self.version, files=calls)


def fetch_plan(manifest: Manifest) -> FetchPlan:
    """The plan for a release's serving variant. Raises IntegrityError where it has none, or names files outside of it."""
    files = tuple(FetchFile(file.path, file.sha256, file.size_bytes) for file in manifest.variant(SERVING).files)
    return FetchPlan(manifest.digest, manifest.version, len(manifest.to_bytes()), files)


def environment(*, endpoint: str, region: str, bucket: str, prefix: str, digest: str, target: str) -> dict[str, str]:
    """The variables that the script reads, but for the credentials.

    endpoint: as the server's machine reaches the store. target: the folder that will hold the version's folder.
    """
    folder = quote(f"{bucket}/{release_folder(prefix, digest)}".rstrip("/"), safe="/")
    return {
        "RELEASE_URL": f"{endpoint.rstrip('/')}/{folder}",
        "STORE": endpoint,
        "BUCKET": bucket,
        "S3_REGION": region,
        "TARGET": target,
    }


def _row(file: FetchFile, local: str) -> str:
    """Path in the version's folder, path in the URL (percent-encoded once, as S3's signatures want it), sha256, size."""
    return f"{shlex.quote(local)} {shlex.quote(quote(file.path, safe='/'))} {file.sha256} {file.size_bytes}"


_HEAD = """#!/bin/sh
set -eu
umask 022
DIGEST={digest}
READY="$TARGET/{version}"
PARTIAL="$TARGET/.partial"
each() {{ # calls $1 for every file with: its path, its path in the release, sha256, size
{files}
}}
fail() {{
  echo "release $DIGEST $*" >&2
  exit 1
}}
is_right() {{ # file, sha256
  [ -f "$1" ] && printf '%s  %s\\n' "$2" "$1" | sha256sum -c - >/dev/null 2>&1
}}
is_ready() {{
  is_right "$READY/$1" "$3"
}}
"""

_CHECK = """check() {
  is_ready "$@" || fail "is damaged: $READY/$1 is missing or not what the manifest names"
}
each check
"""

_FETCH = f"""escaped() {{ # for a quoted value in curl's configuration
  printf '%s' "$1" | sed 's/[\\\\"]/\\\\&/g'
}}
download() {{ # file, URL, size in bytes; prints the HTTP status
  ( # --max-filesize goes by the header alone; without one, no file grows past its size by more than a block.
    ulimit -S -f $((($3 + 511) / 512 + 1)) 2>/dev/null || :
    printf 'user = "%s:%s"\\n' "$(escaped "${ACCESS_KEY_VARIABLE}")" "$(escaped "${SECRET_KEY_VARIABLE}")" |
      curl --config - --aws-sigv4 "aws:amz:$S3_REGION:s3" --silent --show-error --fail --globoff --path-as-is \\
        --proto =http,https --connect-timeout {CONNECT_TIMEOUT_SECONDS} \\
        --speed-limit {MINIMUM_BYTES_PER_SECOND} --speed-time {STALL_SECONDS} --max-filesize "$3" \\
        --output "$1" --write-out '%{{http_code}}' "$2" 2>"$PARTIAL/.error"
  ) 2>/dev/null # where the shell itself would say that the limit was met
}}
get() {{
  file="$PARTIAL/$1"
  object="$2 in bucket $BUCKET of $STORE"
  ! is_right "$file" "$3" || return 0
  mkdir -p "${{file%/*}}" || fail "cannot be written to $TARGET"
  attempt=1
  pause=1
  while :; do
    rm -f "$file.part"
    status=0
    http=$(download "$file.part" "$RELEASE_URL/$2" "$4") || status=$?
    case "$status/$http" in
      0/200)
        [ "$4" -gt 0 ] || : >"$file.part" # curl makes no file of nothing
        is_right "$file.part" "$3" || {{
          rm -f "$file.part"
          fail "is not what it should be: $object has the wrong content (sha256)"
        }}
        mv "$file.part" "$file" || fail "cannot be written to $TARGET"
        return 0
        ;;
      22/401 | 22/403) fail "cannot be fetched: $STORE refuses the credentials for bucket $BUCKET (HTTP $http for $2)" ;;
      22/404)
        [ "$2" != {MANIFEST_NAME} ] || fail "is not in bucket $BUCKET of $STORE (HTTP 404 for $2)"
        fail "is not whole: there is no $object"
        ;;
      22/408 | 22/429 | 22/5??) reason="HTTP $http" ;;
      0/* | 22/*) fail "cannot be fetched: $STORE answers HTTP $http for $2 in bucket $BUCKET" ;;
      63/* | 153/*) fail "is not what it should be: $object has more than the $4 bytes that the manifest names" ;;
      23/*) fail "cannot be written to $TARGET (is the disk full?)" ;;
      *) reason=$(cat "$PARTIAL/.error" 2>/dev/null || echo "curl ended with $status") ;;
    esac
    [ "$attempt" -lt "$ATTEMPTS" ] || fail "cannot be fetched: no $2 from $STORE in $ATTEMPTS attempts ($reason)"
    echo "release $DIGEST: no $2 yet ($reason), again in $pause s"
    sleep "$pause"
    attempt=$((attempt + 1))
    pause=$((pause * 2))
  done
}}
if each is_ready; then
  echo "release $DIGEST is in $READY already"
  exit 0
fi
mkdir -p "$TARGET" || fail "cannot be written to $TARGET"
# A damaged folder is mended like one that is half fetched: right files stay.
if [ -d "$READY" ]; then
  rm -rf "$PARTIAL"
  mv "$READY" "$PARTIAL"
fi
mkdir -p "$PARTIAL" || fail "cannot be written to $TARGET"
each get
rm -f "$PARTIAL/.error"
sync 2>/dev/null || :
mv "$PARTIAL" "$READY" || fail "cannot be written to $TARGET"
echo "release $DIGEST is in $READY"
"""
