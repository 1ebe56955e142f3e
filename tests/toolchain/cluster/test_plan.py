"""What is started where, as values."""

import configparser
import json
import shlex
import tomllib
from pathlib import Path

import pytest
from toolchain.cluster import configs, plan, sandbox, supervise
from toolchain.cluster.__main__ import main, named_kubeconfig
from toolchain.cluster.plan import Folders, Node, Ports, Program, flags
from toolchain.prepare.build import CLUSTER_SOURCE, KUBERNETES_VERSION


def test_flags_are_spelled_as_kubernetes_spells_them() -> None:
    assert flags(bind_address="::", anonymous_auth=False, authorization_mode=("Node", "RBAC"), port=1) == [
        *("--bind-address=::", "--anonymous-auth=false", "--authorization-mode=Node,RBAC", "--port=1")
    ]


def test_the_api_server_lets_nobody_in_without_credentials() -> None:
    command = plan.api_server(Folders(Path("/c")), Path("/b"), Ports(), service_accounts=True).command
    assert {"--anonymous-auth=false", "--authorization-mode=Node,RBAC", "--client-ca-file=/c/pki/ca.crt"} <= set(command)
    assert any("PodSecurity" in part and "NodeRestriction" in part for part in command)


def test_a_control_plane_of_its_own_listens_on_loopback_only() -> None:
    folders, binaries, ports = Folders(Path("/c")), Path("/b"), Ports(etcd=1, etcd_peer=2, api=3, address="127.0.0.1")
    programs = [plan.etcd(folders, binaries, ports), plan.api_server(folders, binaries, ports, service_accounts=False)]
    listening = ("--listen-", "--bind-address", "--secure-port")
    assert [part for program in programs for part in program.command if part.startswith(listening)] == [
        "--listen-client-urls=https://127.0.0.1:1",
        "--listen-peer-urls=https://127.0.0.1:2",
        "--bind-address=127.0.0.1",
        "--secure-port=3",
    ]


def test_a_second_node_runs_in_its_own_network_and_the_first_does_not() -> None:
    assert sandbox.wrap(Program("p", ["run"], Node(1))) == ["run"]
    wrapped = sandbox.wrap(Program("p", ["run"], Node(2)))
    assert wrapped[0] == "unshare"
    assert wrapped[-2:] == ["/run/netns/node-2", "run"]


def test_every_node_has_its_own_addresses_and_all_their_pods_are_reached() -> None:
    nodes = [Node(number) for number in (1, 2, 3)]
    assert len({(node.address, node.pods, node.zone, node.containerd) for node in nodes}) == 3
    commands = [" ".join(command) for command in sandbox.network_commands(nodes)]
    assert {f"ip route add {node.pods} via {node.address}" for node in nodes[1:]} <= set(commands)
    assert not any("netns" in command for command in sandbox.network_commands(nodes[:1]))


def test_the_nodes_files_are_well_formed_and_stay_inside_the_cluster(tmp_path: Path) -> None:
    files = configs.node_files(Folders(tmp_path), Path("/packages"), Node(2), "group")
    parsed = {path.name: tomllib.loads(text) if path.suffix == ".toml" else json.loads(text) for path, text in files.items()}
    containerd, kubelet = parsed["containerd-node-2.toml"], parsed["kubelet-node-2.yaml"]
    assert containerd["root"].startswith(str(tmp_path))
    assert containerd["state"].startswith("/run/isthmus/")
    assert kubelet["cgroupRoot"] == "/group/node-2"
    assert not kubelet["authentication"]["anonymous"]["enabled"]
    assert kubelet["containerRuntimeEndpoint"] == f"unix://{containerd['grpc']['address']}"


def test_supervisord_reads_back_the_commands_that_it_was_given() -> None:
    command = ["/a b/program", "--x=50%", 'say "so"', "it's;fine"]
    text = supervise.configuration(
        Path("/c 100%"), Path("/run/c"), [Program("p", command, environment={"A": "1%"})], lambda program: program.command
    )
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    assert shlex.split(parser["program:p"]["command"] % ()) == command
    assert parser["program:p"]["directory"] % () == "/c 100%"
    assert parser["program:p"]["environment"] % () == 'A="1%"'


def test_the_policy_engine_waits_until_it_is_asked_for_and_may_tidy_up_where_others_are_killed() -> None:
    programs = plan.node_programs(Folders(Path("/c")), Path("/b"), Node(2))
    parser = configparser.RawConfigParser()
    parser.read_string(supervise.configuration(Path("/c"), Path("/run/c"), programs, lambda program: program.command))
    told = {name: (parser[name]["autostart"], parser[name]["stopsignal"]) for name in parser.sections() if name.startswith("program:")}
    assert told.pop("program:network-policies-node-2") == ("false", "TERM")
    assert set(told.values()) == {("true", "KILL")}


def test_the_version_that_is_told_is_the_one_that_is_pinned(project: Path) -> None:
    module = (project / CLUSTER_SOURCE / "go.mod").read_text()
    assert f"k8s.io/kubernetes v{KUBERNETES_VERSION}\n" in module
    minor = KUBERNETES_VERSION.removeprefix("1.")
    replaced = [line.split(" => ")[1].split() for line in module.splitlines() if " => " in line]
    assert {version for _, version in replaced} == {f"v0.{minor}"}


@pytest.mark.parametrize(
    ("environ", "named"),
    [({}, ""), ({"KUBECONFIG": "/k"}, "/k"), ({"KUBECONFIG": "/k", "ISTHMUS_KUBECONFIG": "/i"}, "/i"), ({"KUBECONFIG": ""}, "")],
)
def test_a_kubeconfig_that_the_user_names_is_noticed(environ: dict[str, str], named: str) -> None:
    assert named_kubeconfig(environ) == named


def test_up_starts_nothing_where_the_user_names_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", "/elsewhere")
    assert main(["up"]) == 0
    assert "/elsewhere" in capsys.readouterr().out
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.endswith(".lock")]


def test_up_says_that_it_needs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("KUBECONFIG", "ISTHMUS_KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["up"]) == 1
    assert "root" in capsys.readouterr().err


def test_a_name_that_is_a_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["down", "--name", "../x"]) == 1
    assert "letters" in capsys.readouterr().err
