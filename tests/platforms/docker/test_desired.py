import inspect
import json
from dataclasses import replace

import pulumi_docker
import pytest

from isthmus import resources
from isthmus.gateway import GatewayOptions, Server
from isthmus.platforms.docker import desired as docker

HOSTS = [docker.Host(f"vm-{i}", f"ssh://ops@10.0.0.{i}", f"10.0.0.{i}", f"10.0.0.{i}") for i in (1, 2)]


def gateway(*servers: Server, **options):
    given = {"port": 8501, "grpc_port": 8500, "balancing": "weighted", "options": GatewayOptions(), **options}
    return docker.gateway("digits", "digits", 3, servers, HOSTS[0], **given)


def problems(hosts, port=8501, grpc_port=8500):
    return [str(problem) for problem in docker.host_problems(hosts, hosts[0], port, grpc_port, "docker")]


def test_sound_hosts_have_no_problems():
    assert problems(HOSTS) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ip": "vm.example.org"}, "docker.hosts[1].ip: is 'vm.example.org'; expected an IP address"),
        ({"bind_ip": "no"}, "docker.hosts[1].bind_ip: is 'no'"),
        ({"address": HOSTS[0].address}, "docker.hosts[1].address: is also that of vm-1"),
        ({"grpc_port": 8512}, "docker.hosts[1]: grpc_port (1 of 2) and rest_port (2 of 2) are both 8512"),
    ],
)
def test_what_is_wrong_with_a_host_is_said_with_its_path(change, message):
    (problem,) = problems([HOSTS[0], replace(HOSTS[1], **change)])
    assert problem.startswith(message)


@pytest.mark.parametrize(("port", "grpc_port"), [(8512, 8500), (8501, 8521), (7111, 9000)])
def test_the_gateways_ports_are_no_servers_ports_on_its_own_host_alone(port, grpc_port):
    assert len(problems(HOSTS, port, grpc_port)) == 1
    other = replace(HOSTS[0], rest_port=20_000, grpc_port=30_000)
    assert problems([other, HOSTS[1]], port, grpc_port) == []


def test_a_server_has_two_pairs_of_ports_in_turns():
    assert docker.pairs(HOSTS[0]) == [{"rest": 8511, "grpc": 8521}, {"rest": 8512, "grpc": 8522}]


def test_another_set_of_servers_needs_no_other_container():
    one, other = gateway(Server("10.0.0.1", 8511, 8521)), gateway(Server("10.0.0.2", 8512, 8522))
    assert docker.static_files(one) == docker.static_files(other)
    assert docker.gateway_container("digits", one, "/d") == docker.gateway_container("digits", other, "/d")
    assert docker.live_files(one) != docker.live_files(other)


def test_another_setting_of_the_gateway_needs_another_container():
    one, other = gateway(), gateway(options=GatewayOptions(timeout_seconds=5))
    assert docker.gateway_container("digits", one, "/d") != docker.gateway_container("digits", other, "/d")


def test_a_host_of_weight_0_is_in_no_cluster():
    servers = (Server("10.0.0.1", 8511, 8521, weight=3), Server("10.0.0.2", 8511, 8521, weight=0))
    assert docker.endpoints(gateway(*servers)) == {"stable-rest": ["10.0.0.1:8511"], "stable-grpc": ["10.0.0.1:8521"]}
    assert "10.0.0.2" not in docker.live_files(gateway(*servers))["live/cds.json"]


def test_addresses_of_version_6_are_spelled_as_envoy_and_urls_do():
    assert docker.endpoints(gateway(Server("fd00::1", 8511, 8521)))["stable-rest"] == ["[fd00::1]:8511"]
    assert docker.spelled("fd00::1", 8501) == "[fd00::1]:8501"


def test_keys_are_in_live_files_alone():
    keyed = gateway(options=GatewayOptions(api_keys={"client": "a-long-enough-key"}))
    shown = json.dumps([docker.static_files(keyed), docker.gateway_container("digits", keyed, "/d"), docker.endpoints(keyed)])
    assert "a-long-enough-key" not in shown
    assert "a-long-enough-key" in json.dumps(docker.live_files(keyed))


def test_a_certificate_lies_where_the_listeners_look_for_it():
    files = docker.live_files(gateway(tls=True), "CERTIFICATE", "KEY")
    assert (files["tls/certificate.pem"], files["tls/key.pem"]) == ("CERTIFICATE", "KEY")
    assert "/etc/isthmus/tls/certificate.pem" in files["live/sds.json"]
    assert not [name for name in docker.live_files(gateway()) if name.startswith("tls/")]


def test_the_gateways_container_may_do_no_more_than_it_has_to():
    found = docker.gateway_container("digits", gateway(), "/var/lib/isthmus/digits/gateway")
    assert (found["user"], found["capabilities"], found["read_only"]) == ("65532:65532", {"drops": ["ALL"]}, True)
    assert found["security_opts"] == ["no-new-privileges"]
    assert found["log_opts"] == {"max-size": "16m", "max-file": "2"}
    assert found["mounts"] == [
        {"type": "bind", "source": "/var/lib/isthmus/digits/gateway", "target": "/etc/isthmus", "read_only": True}
    ]  # fmt: skip
    low = docker.gateway_container("digits", gateway(port=443), "/d")
    assert (low["user"], low["capabilities"]["adds"]) == ("0:65532", ["CAP_NET_BIND_SERVICE"])


def test_inputs_are_named_as_their_resources_name_them():
    assert tuple(docker.gateway_container("digits", gateway(), "/d")) == docker.GATEWAY_INPUTS
    assert set(docker.GATEWAY_INPUTS) <= set(inspect.signature(pulumi_docker.ContainerArgs.__init__).parameters)
    assert tuple(docker.server(HOSTS[0])) == docker.SERVER_INPUTS
    assert set(docker.SERVER_INPUTS) <= set(inspect.signature(resources.DockerServer.__init__).parameters)


def test_admin_ports_differ_where_ports_do_and_exist():
    ports = [docker.admin_port(port) for port in range(1024, 65536)]
    assert docker.admin_port(8501) == 9901
    assert all(1 <= port <= 65535 for port in ports)
    assert not [port for port in range(1024, 65536) if docker.admin_port(port) == port]


def test_hosts_that_share_a_disk_do_not_write_into_each_others_folders():
    first, second = (docker.model_folder("digits", host, "sha256:" + 4 * "0123456789abcdef") for host in ("vm-a", "vm-b"))
    assert first != second


def test_releases_of_a_service_lie_side_by_side():
    assert docker.model_folder("digits", "vm-a", "sha256:" + 4 * "0123456789abcdef") == "digits/releases/vm-a/0123456789ab"
    assert docker.gateway_folder("digits").startswith("digits/")
