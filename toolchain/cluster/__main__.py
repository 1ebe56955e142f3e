"""`python -m toolchain.cluster build|up|down|status|enter`, run in the project folder."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from toolchain.cluster import build, down, enter, find, up
from toolchain.prepare.layout import Layout, load
from toolchain.prepare.steps import PrepareError, exclusive, fail, let_others_read, phase, say

DEFAULT = "default"
# The user's own cluster, if one is named, is used instead.
NAMED = ("ISTHMUS_KUBECONFIG", "KUBECONFIG")


def named_kubeconfig(environ: Mapping[str, str]) -> str:
    """The kubeconfig that the user names in the environment; empty if none."""
    return next((environ[name] for name in NAMED if environ.get(name)), "")


def _folder(layout: Layout, arguments: argparse.Namespace) -> Path:
    return layout.data / "cluster" / str(arguments.name)


def _build(layout: Layout, arguments: argparse.Namespace) -> int:
    del arguments
    with phase("programs of the cluster"):
        build.binaries(layout)
    with phase("Debian's packages"):
        build.packages(layout)
    return 0


def _up(layout: Layout, arguments: argparse.Namespace) -> int:
    if kubeconfig := named_kubeconfig(os.environ):
        say(f"using the cluster of {kubeconfig}; nothing is started")
        return 0
    cluster = up(layout, _folder(layout, arguments), nodes=arguments.nodes)
    say(f"the cluster runs: export KUBECONFIG={cluster.kubeconfig}")
    return 0


def _down(layout: Layout, arguments: argparse.Namespace) -> int:
    down(_folder(layout, arguments))
    say(f"no cluster {arguments.name} is left")
    return 0


def _status(layout: Layout, arguments: argparse.Namespace) -> int:
    cluster = find(_folder(layout, arguments))
    if cluster is None:
        say(f"no cluster {arguments.name} runs")
        return 1
    say(f"the cluster {arguments.name} runs; ready nodes: {', '.join(sorted(cluster.api.ready_nodes())) or 'none'}")
    say(f"kubeconfig: {cluster.kubeconfig}")
    return 0


def _enter(layout: Layout, arguments: argparse.Namespace) -> int:
    cluster = find(_folder(layout, arguments))
    if cluster is None:
        raise PrepareError(f"no cluster {arguments.name} runs. Fix: make cluster")
    command = enter(cluster, arguments.command or [os.environ.get("SHELL", "sh")])
    os.execvpe(command[0], command, cluster.environment)  # noqa: S606 becomes the command


ACTIONS: dict[str, tuple[Callable[[Layout, argparse.Namespace], int], str]] = {
    "build": (_build, "make its programs, which takes some minutes once; `up` does that, too"),
    "up": (_up, "start a cluster, or wait until the one that runs is ready"),
    "down": (_down, "end it and remove everything of it"),
    "status": (_status, "tell whether it runs"),
    "enter": (_enter, "run a command (default: a shell) in its network and mounts"),
}


def main(argv: list[str]) -> int:
    """Does what the first argument says; returns the exit status."""
    let_others_read()
    parser = argparse.ArgumentParser(prog="python -m toolchain.cluster", description="A Kubernetes cluster for tests, on this machine.")
    actions = parser.add_subparsers(dest="action", required=True)
    for name, (_, text) in ACTIONS.items():
        action = actions.add_parser(name, help=text)
        action.add_argument("--name", default=DEFAULT, help="which cluster (default: %(default)s)")
        if name == "up":
            action.add_argument("--nodes", type=int, default=1, choices=range(1, 5), help="how many nodes (default: %(default)s)")
        if name == "enter":
            action.add_argument("command", nargs="*")
    arguments = parser.parse_args(argv)
    if not arguments.name.replace("-", "").isalnum():
        return fail(PrepareError(f"--name {arguments.name!r}: expected letters, digits and dashes"))
    try:
        layout = load(Path.cwd().resolve())
        if arguments.action == "enter":
            return _enter(layout, arguments)
        with exclusive(layout.data / "cluster" / f".{arguments.name}.lock", f"the cluster {arguments.name}"):
            return ACTIONS[arguments.action][0](layout, arguments)
    except (PrepareError, OSError) as error:
        return fail(error)
    except KeyboardInterrupt:
        return fail(PrepareError("interrupted; `make cluster` goes on from here, `make cluster-down` removes what there is"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
