"""The methods of `pulumirpc.LanguageRuntime` that this host serves. What is not here answers UNIMPLEMENTED."""

import functools
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from toolchain.language_host import plugins, policy
from toolchain.language_host.environments import (
    Environment,
    UnusableEnvironmentError,
    is_buildable,
    project_name,
    resolve,
)
from toolchain.language_host.options import OptionError, Options, parse
from toolchain.language_host.processes import INTERRUPT_GRACE_SECONDS, Children, output_lines, stop, stream
from toolchain.language_host.protocol import engine, engine_grpc, language, language_grpc, plugin

PROGRAM = Path(__file__).with_name("program.py")
FAILED_AND_SAID_SO = 32
ANALYZER = "analyzer"
NO_DEBUGGER = "this language host cannot attach a debugger; the official one, which comes with the Pulumi CLI, can"


class RequestError(Exception):
    """The request cannot be served; the text is for the user."""


def _user_errors(method: Callable[..., Any]) -> Callable[..., Any]:
    """Turns errors that are meant for the user into a gRPC status, without a traceback."""
    known = (OptionError, UnusableEnvironmentError, RequestError, InterruptedError)

    @functools.wraps(method)
    def unary(self: Any, request: Any, context: Any) -> Any:
        try:
            return method(self, request, context)
        except known as error:
            return context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    @functools.wraps(method)
    def streaming(self: Any, request: Any, context: Any) -> Iterator[Any]:
        try:
            yield from method(self, request, context)
        except known as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    return streaming if method.__name__ in ("InstallDependencies", "RunPlugin") else unary


def _options(info: Any, *, is_plugin: bool = False) -> Options:
    return parse(info.root_directory, info.program_directory, json_format.MessageToDict(info.options), is_plugin=is_plugin)


class LanguageHost(language_grpc.LanguageRuntimeServicer):  # type: ignore[misc]
    """Serves one engine, at `engine_address` (may come later, with the handshake). `version` is the SDK's."""

    def __init__(self, engine_address: str, version: str, children: Children) -> None:
        self.engine_address = engine_address
        self.version = version
        self.children = children

    def Handshake(self, request: Any, context: Any) -> Any:
        self.engine_address = request.engine_address
        return language.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin.PluginInfo(version=self.version)

    def Cancel(self, request: Any, context: Any) -> Any:
        """Interrupts the programs that run; answers at once, as the engine does not wait for them here."""
        from google.protobuf import empty_pb2

        threading.Thread(target=self.children.interrupt, daemon=True).start()
        return empty_pb2.Empty()

    @_user_errors
    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        environment = resolve(_options(request.info))
        if environment.missing():
            self._make(environment)
        environment.refresh()
        return plugins.response(environment.packages())

    @_user_errors
    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        found = resolve(_options(request.info)).packages(direct=not request.transitiveDependencies)
        return language.GetProgramDependenciesResponse(
            dependencies=[language.DependencyInfo(name=package["name"], version=package["version"]) for package in found]
        )

    @_user_errors
    def About(self, request: Any, context: Any) -> Any:
        options = _options(request.info) if request.HasField("info") else parse("", "", {"toolchain": "pip"})
        environment = resolve(options)
        executable, version = environment.query(
            "-c", "import sys, platform; print(sys.executable, platform.python_version(), sep='\\n')"
        ).split("\n")
        metadata = {
            "toolchain": options.toolchain.capitalize(),
            "toolchainVersion": environment.version(),
            "typechecker": options.typechecker.capitalize() or "None",
        }
        return language.AboutResponse(executable=executable, version=version, metadata=metadata)

    @_user_errors
    def InstallDependencies(self, request: Any, context: Any) -> Iterator[Any]:
        environment = resolve(_options(request.info, is_plugin=request.is_plugin))
        yield language.InstallDependenciesResponse(stdout=b"Installing dependencies...\n\n")
        for line in self._install(environment, Path(request.info.program_directory), is_plugin=request.is_plugin):
            yield language.InstallDependenciesResponse(stdout=line)
        yield language.InstallDependenciesResponse(stdout=b"Finished installing dependencies\n\n")

    @_user_errors
    def Run(self, request: Any, context: Any) -> Any:
        if request.attach_debugger:
            return language.RunResponse(error=NO_DEBUGGER)
        if not self.engine_address:
            raise RequestError("the engine has to call Handshake before Run")
        options = _options(request.info)
        environment = resolve(options)
        environment.validate()
        environment.refresh()
        if options.typechecker and (complaint := self._typecheck(environment)):
            raise RequestError(complaint)
        variables = environment.variables()
        variables["PULUMI_CONFIG"] = json.dumps(dict(request.config))
        variables["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(list(request.configSecretKeys))
        # The program writes straight to the host's own streams, which the engine shows.
        process = self.children.start([environment.python, str(PROGRAM), *self._arguments(request)], env=variables)
        context.add_callback(lambda: stop(process, signal.SIGINT, INTERRUPT_GRACE_SECONDS))
        status = process.wait()
        self.children.forget(process)
        if status == FAILED_AND_SAID_SO:
            return language.RunResponse(bail=True)
        return language.RunResponse(error=_failure(status))

    def _arguments(self, request: Any) -> list[str]:
        flags = {
            "monitor": request.monitor_address,
            "engine": self.engine_address,
            "project": request.project,
            "root_directory": request.info.root_directory,
            "stack": request.stack,
            "pwd": request.pwd,
            "dry_run": "true" if request.dryRun else "false",
            "parallel": str(request.parallel),
            "organization": request.organization,
        }
        given = [part for name, value in flags.items() if value for part in (f"--{name}", value)]
        return [*given, "--", request.info.entry_point, *request.args]

    @_user_errors
    def RunPlugin(self, request: Any, context: Any) -> Iterator[Any]:
        if request.attach_debugger:
            raise RequestError(NO_DEBUGGER)
        is_policy = request.kind == ANALYZER
        options = _options(request.info, is_plugin=not is_policy)
        environment = resolve(options)
        environment.validate()
        environment.refresh()
        variables = environment.variables() | dict(pair.split("=", 1) for pair in request.env if "=" in pair)
        # The engine passes its own environment on; the activated one has to win where the two differ.
        variables |= {name: value for name, value in environment.variables().items() if name in ("PATH", "VIRTUAL_ENV")}
        command = [environment.python, *_plugin_arguments(request, options)]
        proxy = policy.PolicyProxy() if is_policy else None
        try:
            if proxy:
                yield language.RunPluginResponse(stdout=b"%d\n" % proxy.port)
                while not proxy.configured.wait(0.1):
                    if not context.is_active():
                        return
                variables = policy.environment(variables, proxy)
            folder = options.program if is_policy else request.pwd
            yield from self._serve(command, folder, variables, context, proxy)
        finally:
            if proxy:
                proxy.close()

    def _serve(self, command: list[str], folder: Any, variables: dict[str, str], context: Any, proxy: Any) -> Iterator[Any]:
        process = self.children.start(command, cwd=folder or None, env=variables, bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        context.add_callback(lambda: stop(process, signal.SIGTERM, INTERRUPT_GRACE_SECONDS))
        if proxy:
            port = policy.read_port(process)
            proxy.attach(port) if port else proxy.fail("it printed no port")
        output = stream(process)
        try:
            while True:
                name, chunk = next(output)
                yield language.RunPluginResponse(**{name: chunk})
        except StopIteration as end:
            yield language.RunPluginResponse(exitcode=end.value)
        finally:
            stop(process, signal.SIGTERM, INTERRUPT_GRACE_SECONDS)
            self.children.forget(process)

    def _install(self, environment: Environment, folder: Path, *, is_plugin: bool) -> Iterator[bytes]:
        for step in environment.install(folder, is_plugin=is_plugin):
            lines: list[bytes] = []
            try:
                for line in output_lines(self.children, step.command, step.folder, environment.variables()):
                    lines.append(line)
                    yield line
            except subprocess.CalledProcessError as error:
                last = b"".join(lines[-5:]).decode(errors="replace").strip()
                raise RequestError(f"`{' '.join(step.command)}` ended with status {error.returncode}: {last}") from error

    def _make(self, environment: Environment) -> None:
        """Makes an environment that does not exist yet, and lets the user watch."""
        with grpc.insecure_channel(self.engine_address) as channel:
            log = engine_grpc.EngineStub(channel)
            for line in self._install(environment, environment.options.program, is_plugin=False):
                text = line.decode(errors="replace")
                log.Log(engine.LogRequest(severity=engine.INFO, message=text, ephemeral=True))

    def _typecheck(self, environment: Environment) -> str:
        """What the type checker complains about; empty if nothing."""
        checker, program = environment.options.typechecker, environment.options.program
        exclude = ["--exclude", environment.folder.name] if checker == "mypy" and environment.folder else []
        command = [environment.python, "-m", checker, *exclude, str(program)]
        try:
            for line in output_lines(self.children, command, program, environment.variables()):
                sys.stdout.write(line.decode(errors="replace"))
                sys.stdout.flush()
        except subprocess.CalledProcessError as error:
            return f"{checker} failed with status {error.returncode}"
        return ""


def _failure(status: int) -> str:
    if status == 0:
        return ""
    if status < 0:
        return f"program was ended by signal {signal.Signals(-status).name}"
    return f"program exited with non-zero exit code: {status}"


def _plugin_arguments(request: Any, options: Options) -> list[str]:
    """How to start a plugin: a policy pack by the policy SDK, a folder with `__main__.py` as it is, a package by its name."""
    if request.kind == ANALYZER:
        return ["-u", "-m", "pulumi.policy", *request.args, str(options.program)]
    if (options.root / "__main__.py").is_file():
        return [str(options.program), *request.args]
    if not is_buildable(options.root):
        raise RequestError(f"plugin {options.root} is not runnable: it has neither __main__.py nor a buildable pyproject.toml")
    return ["-m", "pulumi.run.plugin", project_name(options.root), *request.args]
