"""Parts of the engine's protocol that every plugin says the same way."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import grpc
from google.protobuf import any_pb2, struct_pb2
from pulumi.runtime.proto import provider_pb2, status_pb2

from isthmus.errors import Problem, property_path
from isthmus.plugin.diffs import Change
from isthmus.plugin.values import redact

# The engine never runs more operations at once than its --parallel says; beyond this many, the rest wait here.
THREADS: Final = 64

Failure = tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]
"""Code, message and trailing metadata of a call that is aborted."""

_KINDS: Final[Mapping[tuple[str, bool], "provider_pb2.PropertyDiff.Kind.ValueType"]] = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


def property_diff(change: Change) -> provider_pb2.PropertyDiff:
    """One property's change."""
    return provider_pb2.PropertyDiff(kind=_KINDS[change.kind, change.replaces], inputDiff=change.is_input)


def check_failures(problems: Iterable[Problem], secrets: frozenset[str]) -> list[provider_pb2.CheckFailure]:
    """What Check refuses."""
    # The failure's own `property` stays empty: for one that is set the engine prints the whole value, secrets included.
    return [provider_pb2.CheckFailure(reason=redact(str(problem), secrets)) for problem in problems]


def diff_response(changes: Iterable[Change], ignored: Iterable[str], *, deletes_before_replace: bool) -> provider_pb2.DiffResponse:
    """What Diff answers. ignored: properties or paths whose changes do not count."""
    left_out = set(ignored)
    kept = [change for change in changes if not {property_path(change.path), str(change.path[0])} & left_out]
    replaces = sorted({property_path(change.path) for change in kept if change.replaces})
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if kept else provider_pb2.DiffResponse.DIFF_NONE,
        replaces=replaces,
        diffs=sorted({str(change.path[0]) for change in kept}),
        deleteBeforeReplace=bool(replaces) and deletes_before_replace,
        detailedDiff={property_path(change.path): property_diff(change) for change in kept},
        hasDetailedDiff=True,
    )


def half_made(id: str, properties: struct_pb2.Struct, inputs: struct_pb2.Struct, reasons: Sequence[str]) -> Failure:
    """What makes the engine keep a half-made resource in its state. reasons: without secrets."""
    detail = provider_pb2.ErrorResourceInitFailed(id=id, properties=properties, reasons=reasons, inputs=inputs)
    packed = any_pb2.Any()
    packed.Pack(detail)
    code, message = grpc.StatusCode.UNKNOWN, "\n".join(reasons)
    status = status_pb2.Status(code=code.value[0], message=message, details=[packed])
    return code, message, (("grpc-status-details-bin", status.SerializeToString()),)


def token_and_name(urn: str) -> tuple[str, str]:
    """Type token and name of a URN: `urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME`; both empty where it is none."""
    parts = urn.split("::", 3)
    return (parts[2].rpartition("$")[2], parts[3]) if len(parts) > 3 else ("", "")


def stack_of(urn: str) -> str:
    """Whose a resource is, as `PROJECT/STACK`; empty where the URN is none."""
    parts = urn.split("::", 3)
    return f"{parts[1]}/{parts[0].removeprefix('urn:pulumi:')}" if len(parts) > 3 else ""
