"""Projects run by the real engine with the project's language host: the commands a user types, and Ctrl-C."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

MakeEngine = Callable[[dict[str, str]], Any]

PYTHON = f"{{name: python, options: {{toolchain: pip, virtualenv: {json.dumps(sys.prefix)}}}}}"
PROGRAM = """
import pulumi
config = pulumi.Config()
pulumi.export("greeting", f"hello {config.require('who')}")
pulumi.export("hidden", config.require_secret("password"))
"""

# A provider with one resource, whose creation takes as long as the file `slow` exists, or until the engine cancels.
PLUGIN = """
import os, sys, threading, time
from concurrent import futures
import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

HERE = os.path.dirname(os.path.abspath(__file__))
cancelled = threading.Event()

class Provider(provider_pb2_grpc.ResourceProviderServicer):
    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="1.0.0")

    def Configure(self, request, context):
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def CheckConfig(self, request, context):
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request, context):
        return provider_pb2.DiffResponse()

    def Check(self, request, context):
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request, context):
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Create(self, request, context):
        if not request.preview:
            open(os.path.join(HERE, "creating"), "w").close()
            while os.path.exists(os.path.join(HERE, "slow")):
                if cancelled.wait(0.05):
                    context.abort(grpc.StatusCode.CANCELLED, "creation was cancelled")
        return provider_pb2.CreateResponse(id="made", properties=request.properties)

    def Read(self, request, context):
        return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    def Delete(self, request, context):
        return empty_pb2.Empty()

    def Cancel(self, request, context):
        cancelled.set()
        return empty_pb2.Empty()

server = grpc.server(futures.ThreadPoolExecutor(8))
provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
sys.stdout.write(f"{server.add_insecure_port('127.0.0.1:0')}\\n")
server.start()
sys.stdout.flush()
server.wait_for_termination()
"""
WITH_PLUGIN = {
    "Pulumi.yaml": f"name: slow\nruntime: {PYTHON}\nplugins: {{providers: [{{name: slow, path: plugin}}]}}\n",
    "__main__.py": "import pulumi\n"
    "first = pulumi.CustomResource('slow:index:Thing', 'first', {})\n"
    "pulumi.CustomResource('slow:index:Thing', 'second', {}, pulumi.ResourceOptions(depends_on=[first]))\n",
    "plugin/PulumiPlugin.yaml": f"runtime: {PYTHON}\n",
    "plugin/__main__.py": PLUGIN,
}


def state(engine: Any) -> dict[str, Any]:
    exported: dict[str, Any] = json.loads(engine.run("stack", "export").stdout)["deployment"]
    return exported


def names(engine: Any) -> list[str]:
    return sorted(resource["urn"].split("::")[-1] for resource in state(engine).get("resources") or [])


def test_every_command_works_typed_by_hand(engine: MakeEngine) -> None:
    run = engine({"Pulumi.yaml": f"name: tiny\nruntime: {PYTHON}\n", "__main__.py": PROGRAM})
    missing = run.run("preview", check=False)
    assert missing.returncode != 0
    assert "tiny:who" in missing.stdout + missing.stderr
    run.run("config", "set", "who", "world")
    run.run("config", "set", "--secret", "password", "open sesame")
    assert "hello world" in run.run("preview").stdout
    up = run.run("up", "--yes")
    assert "warning" not in up.stdout + up.stderr
    assert "open sesame" not in up.stdout + up.stderr
    assert json.loads(run.run("stack", "output", "--json", "--show-secrets").stdout) == {"greeting": "hello world", "hidden": "open sesame"}
    assert "open sesame" not in json.dumps(state(run))
    run.run("refresh", "--yes")
    assert "dev" in run.run("stack", "ls").stdout
    assert json.loads(run.run("config", "--json").stdout)["tiny:who"]["value"] == "world"
    cancelled = run.run("cancel", "--yes", check=False)
    assert "cancel" in (cancelled.stdout + cancelled.stderr).lower()
    assert "executable=" in run.run("about").stdout
    run.run("destroy", "--yes")
    assert names(run) == []
    run.run("stack", "rm", "--yes")


@pytest.mark.parametrize(
    ("text", "expected", "unexpected"),
    [
        ("import pulumi\nraise pulumi.RunError('one clear line')\n", "one clear line", "Traceback"),
        ("def f():\n    raise ValueError('deep down')\nf()\n", "__main__.py", "runpy"),
    ],
    ids=["an error for the user", "an error of the program"],
)
def test_a_failing_program_says_why_and_no_more(engine: MakeEngine, text: str, expected: str, unexpected: str) -> None:
    run = engine({"Pulumi.yaml": f"name: failing\nruntime: {PYTHON}\n", "__main__.py": text})
    result = run.run("preview", check=False)
    assert result.returncode != 0
    assert expected in result.stdout + result.stderr
    assert unexpected not in result.stdout + result.stderr


def test_a_project_without_a_program_is_told_so(engine: MakeEngine) -> None:
    run = engine({"Pulumi.yaml": f"name: empty\nruntime: {PYTHON}\n"})
    result = run.run("preview", check=False)
    assert "unable to find main python program" in result.stdout + result.stderr


def test_a_plugin_in_a_folder_serves_the_whole_life_of_a_resource(engine: MakeEngine) -> None:
    run = engine(WITH_PLUGIN)
    run.run("up", "--yes")
    assert {"first", "second"} <= set(names(run))
    assert "warning" not in run.run("refresh", "--yes").stdout
    run.run("destroy", "--yes")
    assert names(run) == []


def interrupt(process: Any) -> tuple[float, str]:
    """Ctrl-C: the terminal interrupts the whole foreground process group. Returns the seconds it took and the output."""
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    return time.monotonic() - started, output


def assert_consistent(run: Any) -> None:
    """Nothing pending, no lock left, and no process that works in the project."""
    assert not state(run).get("pending_operations")
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_text()
        except OSError:
            continue
        assert str(run.folder) not in command, command


def test_an_interrupt_while_a_resource_is_made_is_picked_up_by_the_next_up(engine: MakeEngine, eventually: Callable[..., None]) -> None:
    run = engine(WITH_PLUGIN)
    slow, creating = run.folder / "plugin" / "slow", run.folder / "plugin" / "creating"
    slow.touch()
    process = run.start("up", "--yes", "--skip-preview")
    eventually(creating.exists, "the start of the creation", 60)
    assert process.poll() is None
    seconds, output = interrupt(process)
    assert seconds < 10, output
    assert process.returncode != 0
    assert "Traceback" not in output
    assert_consistent(run)
    assert "first" not in names(run)

    slow.unlink()
    assert run.run("up", "--yes").returncode == 0
    assert {"first", "second"} <= set(names(run))
    run.run("destroy", "--yes")


def test_an_interrupt_while_the_program_computes_ends_it_and_its_workers(engine: MakeEngine, eventually: Callable[..., None]) -> None:
    program = (
        "import os, pathlib, subprocess, sys, time\n"
        "here = pathlib.Path(__file__).parent\n"
        "if (here / 'slow').exists():\n"
        # The worker says itself that it computes: before it has its handler, an interrupt ends it with a traceback of Python's own.
        "    code = 'import pathlib, signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_DFL); '\n"
        "    code += 'pathlib.Path(sys.argv[1], \\'computing\\').touch(); time.sleep(300)'\n"
        "    worker = subprocess.Popen([sys.executable, '-c', code, str(here)])\n"
        "    time.sleep(300)\n"
    )
    run = engine({"Pulumi.yaml": f"name: busy\nruntime: {PYTHON}\n", "__main__.py": program})
    (run.folder / "slow").touch()
    process = run.start("up", "--yes", "--skip-preview")
    eventually((run.folder / "computing").exists, "the start of the computation", 60)
    seconds, output = interrupt(process)
    assert seconds < 10, output
    assert "Traceback" not in output
    assert_consistent(run)
    (run.folder / "slow").unlink()
    run.run("up", "--yes")
