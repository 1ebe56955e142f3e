"""The language host as the engine sees it: a real process, spoken to over gRPC."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

pytestmark = pytest.mark.slow


def info(folder: Path, **options: str) -> Any:
    fields = struct_pb2.Struct()
    fields.update({"virtualenv": sys.prefix, **options})
    return language_pb2.ProgramInfo(root_directory=str(folder), program_directory=str(folder), entry_point=".", options=fields)


def program(folder: Path, text: str) -> Path:
    (folder / "__main__.py").write_text(text, encoding="utf-8")
    return folder


def run_plugin(host: Any, folder: Path, **fields: Any) -> tuple[bytes, bytes, list[int]]:
    request = language_pb2.RunPluginRequest(pwd=str(folder), info=info(folder), kind="resource", **fields)
    answers = list(host.client.RunPlugin(request, timeout=30))
    codes = [answer.exitcode for answer in answers if answer.WhichOneof("output") == "exitcode"]
    return b"".join(a.stdout for a in answers), b"".join(a.stderr for a in answers), codes


def first_line(answers: Any) -> bytes:
    """The first line of a plugin's output; an unbuffered Python writes it in several parts."""
    line = b""
    while not line.endswith(b"\n"):
        line += next(answers).stdout
    return line


def test_it_starts_fast_and_ends_silently_when_interrupted(host: Any) -> None:
    assert host.client.GetPluginInfo(empty_pb2.Empty(), timeout=10).version
    output = host.close()
    assert output == ("", "")
    assert host.process.returncode == 0
    assert host.start_seconds < 3  # half a second on an idle machine; this bound is for a busy one


def test_the_whole_sdk_is_not_imported(project: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(project)!r}); import toolchain.language_host.service; "
        "print([m for m in ('pulumi.output', 'asyncio', 'psutil', 'numpy') if m in sys.modules])"
    )
    ours = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    whole = subprocess.run([sys.executable, "-c", f"import pulumi; {code}"], capture_output=True, text=True, check=True).stdout
    assert "pulumi.output" in whole
    assert "pulumi.output" not in ours


def test_the_handshake_is_answered(host: Any) -> None:
    request = language_pb2.LanguageHandshakeRequest(engine_address="127.0.0.1:1")
    assert host.client.Handshake(request, timeout=10) == language_pb2.LanguageHandshakeResponse()


def test_its_version_is_the_sdks(host: Any) -> None:
    from importlib.metadata import version

    assert host.client.GetPluginInfo(empty_pb2.Empty(), timeout=10).version == version("pulumi")


def test_a_method_that_only_the_official_host_has_is_unimplemented(host: Any) -> None:
    with pytest.raises(grpc.RpcError) as error:
        host.client.GeneratePackage(language_pb2.GeneratePackageRequest(), timeout=10)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_about_tells_the_programs_interpreter(host: Any, tmp_path: Path) -> None:
    answer = host.client.About(language_pb2.AboutRequest(info=info(tmp_path)), timeout=30)
    assert os.path.realpath(answer.executable) == os.path.realpath(sys.executable)
    assert answer.version == ".".join(map(str, sys.version_info[:3]))
    assert answer.metadata["toolchain"] == "Pip"


def test_the_dependencies_are_the_installed_packages(host: Any, tmp_path: Path) -> None:
    def names(transitive: bool) -> set[str]:
        request = language_pb2.GetProgramDependenciesRequest(info=info(tmp_path), transitiveDependencies=transitive)
        return {found.name for found in host.client.GetProgramDependencies(request, timeout=60).dependencies}

    everything, direct = names(transitive=True), names(transitive=False)
    assert {"pulumi", "grpcio"} <= everything
    assert direct < everything
    assert "grpcio" not in direct  # pulumi needs it


def test_a_package_with_a_plugin_file_asks_for_its_plugin(host: Any, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    (site / "pulumi_example").mkdir()
    (site / "pulumi_example" / "__init__.py").touch()
    (site / "pulumi_example" / "pulumi-plugin.json").write_text(json.dumps({"resource": True, "name": "example", "version": "1.2.3"}))
    (site / "pulumi_example-1.0.dist-info").mkdir()
    (site / "pulumi_example-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pulumi-example\nVersion: 1.0\n")
    request = language_pb2.GetRequiredPackagesRequest(info=info(tmp_path, virtualenv="venv"))
    [found] = host.client.GetRequiredPackages(request, timeout=30).packages
    assert (found.name, found.kind, found.version) == ("example", "resource", "v1.2.3")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"toolchain": "poetry"}, "unsupported toolchain option: poetry"),
        ({"typechecker": "lint"}, "unsupported typechecker option: lint"),
        ({"virtualenv": "nowhere"}, "doesn't exist"),
    ],
)
def test_options_that_cannot_be_honoured_are_explained(host: Any, tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        host.client.Run(language_pb2.RunRequest(info=info(tmp_path, **options)), timeout=10)
    assert message in error.value.details()
    assert "Traceback" not in error.value.details()


@pytest.mark.parametrize(
    ("exit_code", "error", "bail"), [(0, "", False), (32, "", True), (3, "program exited with non-zero exit code: 3", False)]
)
def test_a_programs_exit_code_is_told(host: Any, tmp_path: Path, exit_code: int, error: str, bail: bool) -> None:
    # An interpreter that ends at once stands in for the program's: the host only sees its exit code.
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!/bin/sh\necho "config $PULUMI_CONFIG secrets $PULUMI_CONFIG_SECRET_KEYS venv $VIRTUAL_ENV" >&2\nexit {exit_code}\n'
    )
    python.chmod(0o755)
    request = language_pb2.RunRequest(
        info=info(tmp_path, virtualenv="venv"), config={"p:key": "value"}, configSecretKeys=["p:key"], project="p", parallel=4
    )
    answer = host.client.Run(request, timeout=30)
    output, errors = host.close()
    assert (answer.error, answer.bail) == (error, bail)
    assert output == ""
    assert errors == f'config {{"p:key": "value"}} secrets ["p:key"] venv {tmp_path / "venv"}\n'


def test_a_plugin_is_streamed_with_its_exit_code(host: Any, tmp_path: Path) -> None:
    program(tmp_path, "import os, sys; print(os.getcwd(), sys.argv[1:], os.environ['EXTRA']); print('oops', file=sys.stderr); sys.exit(7)")
    output, errors, codes = run_plugin(host, tmp_path, args=["one"], env=["EXTRA=more"])
    assert output.decode() == f"{tmp_path} ['one'] more\n"
    assert errors == b"oops\n"
    assert codes == [7]


def test_a_plugin_without_an_environment_is_refused(host: Any, tmp_path: Path) -> None:
    program(tmp_path, "")
    bare = language_pb2.ProgramInfo(root_directory=str(tmp_path), program_directory=str(tmp_path), entry_point=".")
    with pytest.raises(grpc.RpcError) as error:
        list(host.client.RunPlugin(language_pb2.RunPluginRequest(info=bare, kind="resource"), timeout=10))
    assert f"'venv', but '{tmp_path / 'venv'}' doesn't exist" in error.value.details().replace('"', "'")


def test_a_plugins_first_line_comes_while_it_runs_and_it_ends_with_the_request(
    host: Any, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    program(tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(300)")
    request = language_pb2.RunPluginRequest(pwd=str(tmp_path), info=info(tmp_path), kind="resource")
    answers = host.client.RunPlugin(request, timeout=60)
    pid = int(first_line(answers))
    os.kill(pid, 0)
    answers.cancel()
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the plugin's end")


def test_what_a_plugin_set_free_outlives_it(host: Any, tmp_path: Path, eventually: Callable[..., None]) -> None:
    start = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session={})"
    program(
        tmp_path,
        f"import subprocess, sys, time\nkept, free = {start.format(False)}, {start.format(True)}\n"
        "print(kept.pid, free.pid, flush=True)\ntime.sleep(300)\n",
    )
    answers = host.client.RunPlugin(language_pb2.RunPluginRequest(pwd=str(tmp_path), info=info(tmp_path), kind="resource"), timeout=60)
    kept, free = map(int, first_line(answers).split())
    try:
        answers.cancel()
        eventually(lambda: not _runs(kept), "the end of the plugin's own child")
        assert _runs(free)
    finally:
        os.kill(free, signal.SIGKILL)


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_cancel_interrupts_the_program(host: Any, tmp_path: Path, eventually: Callable[..., None]) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexec sleep 300\n")
    python.chmod(0o755)
    answers: list[Any] = []
    request = language_pb2.RunRequest(info=info(tmp_path, virtualenv="venv"))
    thread = threading.Thread(target=lambda: answers.append(host.client.Run(request, timeout=60)))
    thread.start()
    eventually((tmp_path / "started").exists, "the program's start")
    host.client.Cancel(empty_pb2.Empty(), timeout=10)
    thread.join(15)
    assert answers[0].error == "program was ended by signal SIGINT"


def test_the_dependencies_of_a_project_are_installed_into_its_environment(
    start_host: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "calls"
    fake = tmp_path / "bin" / "python3"  # an interpreter that notes what it is asked to do, so that no index is needed
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {record}\nmkdir -p "$3/bin" && cp "$0" "$3/bin/python" 2>/dev/null\nexit 0\n')
    fake.chmod(0o755)
    program(tmp_path, "")
    (tmp_path / "requirements.txt").write_text("example\n")
    monkeypatch.setenv("PULUMI_PYTHON_CMD", str(fake))
    request = language_pb2.InstallDependenciesRequest(info=info(tmp_path, virtualenv="env"))
    text = b"".join(answer.stdout for answer in start_host().client.InstallDependencies(request, timeout=60)).decode()
    assert text.startswith("Installing dependencies...")
    assert text.endswith("Finished installing dependencies\n\n")
    assert record.read_text().splitlines() == [
        f"-m venv {tmp_path / 'env'}",
        "-m pip install --upgrade pip setuptools wheel",
        "-m pip install -r requirements.txt",
    ]


def test_the_host_ends_when_its_engine_dies(project: Path, eventually: Callable[..., None]) -> None:
    entry = project / "toolchain" / "language_host" / "__main__.py"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, {str(entry)!r}, '127.0.0.1:1']); input()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    port = int(parent.stdout.readline())
    client: Any = language_pb2_grpc.LanguageRuntimeStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
    assert client.GetPluginInfo(empty_pb2.Empty(), timeout=10).version
    parent.kill()
    parent.wait()
    eventually(lambda: _refused(port), "the host's end")


def _refused(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
