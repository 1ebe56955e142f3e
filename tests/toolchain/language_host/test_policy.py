"""A policy pack is started with its stack's configuration, and every other call goes through to it."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc, language_pb2

# Stands in for the policy SDK, which is not installed here: `python -u -m pulumi.policy ENGINE FOLDER` with its environment.
PACK = """
import json, os, sys
from concurrent import futures
import grpc
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

class Analyzer(analyzer_pb2_grpc.AnalyzerServicer):
    def GetAnalyzerInfo(self, request, context):
        seen = {name: os.environ.get(name) for name in ("PULUMI_PROJECT", "PULUMI_STACK", "PULUMI_DRY_RUN", "PULUMI_CONFIG")}
        return analyzer_pb2.AnalyzerInfo(name="pack", displayName=json.dumps({**seen, "folder": os.getcwd()}))

    def Analyze(self, request, context):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no {request.type}")

server = grpc.server(futures.ThreadPoolExecutor(4))
analyzer_pb2_grpc.add_AnalyzerServicer_to_server(Analyzer(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
"""


@pytest.fixture
def pack(tmp_path: Path) -> Any:
    """A RunPlugin request for the pack. The SDK's runner runs the folder's `__main__.py`."""
    (tmp_path / "__main__.py").write_text(PACK)
    fields = struct_pb2.Struct()
    fields.update({"virtualenv": sys.prefix})
    info = language_pb2.ProgramInfo(root_directory=str(tmp_path), program_directory=str(tmp_path), entry_point=".", options=fields)
    environ = [f"{name}={value}" for name, value in os.environ.items() if not name.startswith("PULUMI_")]
    return language_pb2.RunPluginRequest(pwd="/", info=info, kind="analyzer", args=["127.0.0.1:1"], env=environ)


def test_the_pack_learns_its_stack_and_answers_through_the_proxy(
    host: Any, pack: Any, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    answers = host.client.RunPlugin(pack, timeout=60)
    port = int(next(answers).stdout)
    client: Any = analyzer_pb2_grpc.AnalyzerStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
    client.Handshake(analyzer_pb2.AnalyzerHandshakeRequest(engine_address="127.0.0.1:1"), timeout=10)
    client.ConfigureStack(analyzer_pb2.AnalyzerStackConfigureRequest(project="p", stack="s", dry_run=True, config={"p:a": "b"}), timeout=10)
    info = client.GetAnalyzerInfo(empty_pb2.Empty())  # without a deadline, as the engine asks
    assert info.name == "pack"
    assert json.loads(info.displayName) == {
        "PULUMI_PROJECT": "p",
        "PULUMI_STACK": "s",
        "PULUMI_DRY_RUN": "true",
        "PULUMI_CONFIG": '{"p:a": "b"}',
        "folder": str(tmp_path),
    }
    with pytest.raises(grpc.RpcError) as error:
        client.Analyze(analyzer_pb2.AnalyzeRequest(type="thing"), timeout=10)
    assert (error.value.code(), error.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "no thing")
    answers.cancel()
    eventually(lambda: str(tmp_path) not in _command_lines(), "the pack's end")


def test_a_pack_that_fails_to_start_says_so(host: Any, pack: Any, tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text("import sys; sys.exit('cannot start')\n")
    answers = host.client.RunPlugin(pack, timeout=60)
    port = int(next(answers).stdout)
    client: Any = analyzer_pb2_grpc.AnalyzerStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
    call = client.GetAnalyzerInfo.future(empty_pb2.Empty(), timeout=30)
    rest = list(answers)
    assert b"cannot start" in b"".join(answer.stderr for answer in rest)
    assert rest[-1].exitcode == 1
    assert "policy pack not started" in call.exception().details()


def _command_lines() -> str:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(entry.read_text())
        except OSError:
            continue
    return "\n".join(found)
