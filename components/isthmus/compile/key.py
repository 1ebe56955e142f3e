"""The cache key of a compile: a hash over everything that its result depends on.

The source's content (not where it lies, nor when it was saved), the evaluation data, the request, the tools' versions,
the machine's kind, and this package's own code.
"""

import functools
import hashlib
import json
import platform
import sys
import zipfile
from importlib import metadata
from pathlib import Path

from isthmus.compile.request import CompileRequest
from isthmus.compile.source import KERAS, Source, find_source, keras_content
from isthmus.errors import Problem, SourceError
from isthmus.release.hashing import FileRange, tree_hashes

# What turns a source into bytes. The first of several distributions that is installed counts.
_TOOLS = {
    "tensorflow": ("tensorflow-cpu", "tensorflow"),
    "keras": ("keras",),
    "numpy": ("numpy",),
    "ai-edge-litert": ("ai-edge-litert",),
    "litert-quantizer": ("litert-quantizer",),
    "flatbuffers": ("flatbuffers",),
    "protobuf": ("protobuf",),
}
_OWN_CODE = ("compile/*.py", "release/manifest.py", "release/hashing.py")


@functools.cache
def tool_versions() -> tuple[tuple[str, str], ...]:
    """Names and versions of the tools and of Python (major.minor), sorted; "absent" for what is not installed."""
    versions = [("python", f"{sys.version_info.major}.{sys.version_info.minor}")]
    for tool, distributions in _TOOLS.items():
        versions.append((tool, next((found for name in distributions if (found := _version(name))), "absent")))
    return tuple(sorted(versions))


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def _own_code() -> str:
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _OWN_CODE for path in package.glob(pattern)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def resolve(request: CompileRequest) -> Source:
    """The request's source. Raises SourceError with all that is wrong with it."""
    source, problems = find_source(request.source, request.evaluation, request.base_directory, request.model)
    if source is None:
        raise SourceError(problems)
    return source


def compile_key(request: CompileRequest, source: Source) -> str:
    """The key, as hex. Raises SourceError where a file of the source cannot be read."""
    try:
        parts = keras_content(source.path) if source.kind == KERAS else [(n, FileRange.whole(p)) for n, p in source.files]
        if source.evaluation is not None:
            parts.append(("evaluation", FileRange.whole(source.evaluation)))
        hashes = tree_hashes([part for _, part in parts])
    except (OSError, zipfile.BadZipFile) as error:
        raise SourceError([Problem(f"{request.model}.model", f"{source.name!r} cannot be read ({error})")]) from error
    content = {
        "source": [source.kind, sorted(zip((name for name, _ in parts), hashes, strict=True))],
        "function": request.source.partition(":")[2] if source.kind == "function" else "",
        "model": request.model,
        "recipe": request.recipe,
        "version": request.version,
        "tools": tool_versions(),
        "machine": platform.machine(),
        "code": _own_code(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
