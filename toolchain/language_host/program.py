"""Runs one Pulumi program in its own process, under the program's own interpreter. A script: needs the Pulumi SDK and no more.

Takes the flags that the host passes for a Run request; configuration comes in `PULUMI_CONFIG` and
`PULUMI_CONFIG_SECRET_KEYS`. Exit statuses: 0, done; 32, failed and the user has been told; 1, failed; 130, interrupted.
"""

import argparse
import asyncio
import logging
import os
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

FAILED_AND_SAID_SO = 32
INTERRUPTED = 130

try:
    import pulumi
    import pulumi.runtime
except ImportError:
    traceback.print_exc()
    sys.stderr.write(
        "\nIt looks like the Pulumi SDK has not been installed in the environment that this program runs in.\n"
        f"Interpreter: {sys.executable}. Install the project's requirements.txt there, or run `pulumi install`.\n"
    )
    sys.exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Execute a Pulumi Python program")
    for name in ("monitor", "engine", "project", "root_directory", "stack", "pwd", "dry_run", "parallel", "tracing", "organization"):
        parser.add_argument(f"--{name}")
    parser.add_argument("program")
    parser.add_argument("arguments", nargs="*")
    return parser.parse_args()


def _user_traceback(program: str) -> str:
    """The current exception's traceback from the user's program on; all of it if the program is not in there."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    start = os.path.abspath(program if os.path.splitext(program)[1] else os.path.join(program, "__main__.py"))
    for index, frame in enumerate(frames):
        if os.path.abspath(frame.filename) == start:
            return traceback.format_exc(limit=index - len(frames))
    return traceback.format_exc()


def _run(program: str) -> None:
    missing = os.path.isdir(program) and not os.path.exists(os.path.join(program, "__main__.py"))
    if missing:
        pulumi.log.error(f"unable to find main python program `__main__.py` in `{os.path.abspath(program)}`")
        sys.exit(FAILED_AND_SAID_SO)
    runpy.run_path(program, run_name="__main__")


def main() -> int:
    arguments = _arguments()
    pulumi.runtime.set_all_config(pulumi.runtime.get_config_env(), pulumi.runtime.get_config_secret_keys_env())
    parallel = int(arguments.parallel)
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            monitor=arguments.monitor,
            engine=arguments.engine,
            project=arguments.project,
            stack=arguments.stack,
            parallel=parallel,
            dry_run=arguments.dry_run == "true",
            organization=arguments.organization,
            root_directory=arguments.root_directory,
        )
    )
    sys.argv = [arguments.program, *arguments.arguments]
    if arguments.pwd is not None:
        os.chdir(arguments.pwd)
    program = os.path.abspath(arguments.program)

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = ThreadPoolExecutor(max_workers=max(parallel, 1) * 4)
    loop.set_default_executor(executor)
    # A program that fails leaves part of its graph unevaluated; asyncio's complaints about that would bury the error.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(lambda: _run(program)))
        return 0
    except pulumi.RunError as error:
        # The official host returns 1 here and adds a line of its own that tells the user nothing more.
        pulumi.log.error(str(error))
        return FAILED_AND_SAID_SO
    except Exception:
        pulumi.log.error("Program failed with an unhandled exception:\n" + _user_traceback(program))
        return FAILED_AND_SAID_SO
    finally:
        executor.shutdown(wait=True)
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # threads that wait for the engine would hold the interpreter open, and complain
    sys.exit(code)
