import pytest
from pulumi import Output

from isthmus.arguments import components
from isthmus.arguments.checking import check, problems_of
from isthmus.platforms.rules import with_platforms

CloudSettings = with_platforms(components.CloudSettings)
EdgeSettings = with_platforms(components.EdgeSettings)
HybridSettings = with_platforms(components.HybridSettings)

GOOD = {"model": "models/digits", "requests_per_second": 200, "p95_ms": 50}
STORE = {"endpoint": "http://store", "access_key": "a", "secret_key": "hunter2"}
HOST = {"name": "one", "address": "unix:///run/docker.sock"}
ON = {
    "local": {},
    "docker": {"docker": {"hosts": [HOST]}, "store": STORE},
    "kubernetes": {"store": STORE, "kubernetes": {"service_type": "NodePort"}},
}


def messages(model, raw):
    return [str(problem) for problem in problems_of(model, raw, "services.digits")[1]]


def test_a_stack_file_moves_between_platforms_by_its_platform_alone():
    everything = {**GOOD, "store": STORE, "local": {"port": 8501}, "docker": {"hosts": [HOST]}, "kubernetes": {"namespace": "serving"}}
    for platform in ON:
        assert check(CloudSettings, {**everything, "platform": platform}, "services.digits").platform == platform


@pytest.mark.parametrize("platform", ["docker", "kubernetes"])
def test_a_platform_that_fetches_from_a_store_asks_for_one(platform):
    found = messages(CloudSettings, {**GOOD, **ON[platform], "store": None, "platform": platform})
    assert len(found) == 1
    assert found[0].startswith("services.digits.store: is missing; the platform")


def test_docker_without_hosts_is_refused():
    assert "services.digits.docker.hosts: is missing" in messages(CloudSettings, {**GOOD, "platform": "docker", "store": STORE})[0]


@pytest.mark.parametrize("platform", ["local", "docker"])
def test_a_canary_is_refused_by_name_where_it_is_not_built(platform):
    found = messages(CloudSettings, {**GOOD, **ON[platform], "platform": platform, "canary": {"version": 2}})
    assert len(found) == 1
    assert found[0].startswith(f"services.digits.canary: the platform {platform} cannot do this")


def test_tls_of_the_local_gateway_is_refused_without_showing_the_key():
    found = messages(CloudSettings, {**GOOD, "gateway": {"tls_key": "hunter2", "tls_certificate": "c"}})
    assert len(found) == 1
    assert "gateway.tls_key: the platform local cannot do this" in found[0]
    assert "hunter2" not in found[0]


@pytest.mark.parametrize("gateway", [{"api_keys": {"shop": "hunter2"}}, {"jwt_issuer": "me", "jwks": "hunter2"}])
def test_keys_that_nobody_could_use_are_refused_without_showing_them(gateway):
    found = messages(CloudSettings, {**GOOD, "gateway": gateway})
    assert len(found) == 1
    assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    ("change", "where", "says"),
    [
        ({"canary_percent": 20}, "canary_percent", "there is no canary"),
        ({"canary": {"version": 1}}, "canary.version", "the stable release's version too"),
        ({"canary": {}}, "canary.version", "is missing"),
        ({"canary": {"version": 2}, "canary_percent": 101}, "canary_percent", "found 101"),
        ({"kubernetes": {"namespace": "Serving"}}, "kubernetes.namespace", "lower case"),
        ({"kubernetes": {"service_type": "Nodeport"}}, "kubernetes.service_type", "did you mean 'NodePort'?"),
        ({"kubernetes": {"node_port": 30100}}, "kubernetes.node_port", "a ClusterIP has no node port"),
        ({"kubernetes": {"pools": [{"name": "a"}, {"name": "a"}]}}, "kubernetes.pools", "two pools named 'a'"),
        ({"kubernetes": {"pools": [{"name": "a"}], "autoscale": True}}, "kubernetes.autoscale", "pools of unequal speed"),
        ({"kubernetes": {"replica": 3}}, "kubernetes.replica", "no such argument"),
        ({"kubernetes": {"gateway_replica": 3}}, "kubernetes.gateway_replica", "did you mean 'gateway_replicas'?"),
        ({"gateway": {"jwt_issuer": "me"}}, "gateway.jwks", "is missing beside jwt_issuer"),
        ({"gateway": {"tls_key": "hunter2"}}, "gateway.tls_certificate", "is missing beside tls_key"),
        ({"gateway": {"jwt_issuer": "", "jwks": '{"keys": [{"kty": "RSA"}]}'}}, "gateway.jwt_issuer", "is empty"),
        ({"gateway": {"tls_key": "hunter2", "tls_certificate": ""}}, "gateway.tls_certificate", "is empty"),
        ({"gateway": {"api_keys": {}}}, "gateway.api_keys", "everybody would be let in"),
        ({"gateway": {"api_keys": {"a": None}}}, 'gateway.api_keys["a"]', "too short"),
        ({"gateway": {"api_keys": {"a": 1234567890123456}}}, 'gateway.api_keys["a"]', "too short"),
        ({"gateway": {"api_keys": {"a": "short", "b": Output.secret("hunter2")}}}, 'gateway.api_keys["a"]', "too short"),
        ({"gateway": {"jwt_issuer": "me", "jwks": {"keys": []}}}, "gateway.jwks", "is not a JSON Web Key Set"),
        ({"gateway": {"burst_per_client": 2}}, "gateway.burst_per_client", "there is no limit"),
        ({"store": {**STORE, "prefix": "../others/"}}, "store.prefix", "another prefix or bucket"),
        ({"store": {**STORE, "pull_access_key": "a"}}, "store", "one of pull_access_key and pull_secret_key"),
    ],
)
def test_a_wrong_argument_of_a_platform_is_named(change, where, says):
    found = messages(CloudSettings, {**GOOD, "platform": "kubernetes", "store": STORE, **change})
    assert len(found) == 1
    assert found[0].startswith(f"services.digits.{where}: ")
    assert says in found[0]
    assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    ("docker", "says"),
    [
        ({"hosts": [HOST, HOST]}, "two hosts named 'one'"),
        ({"hosts": [HOST], "gateway_host": "two"}, "no host is named 'two'"),
        ({"hosts": [{**HOST, "address": "tcp://10.0.0.1"}]}, "docker.hosts[0].address: found"),
        ({"hosts": [{**HOST, "speed": 0}]}, "docker.hosts[0].speed: found 0"),
    ],
)
def test_wrong_hosts_are_named(docker, says):
    found = messages(CloudSettings, {**GOOD, "platform": "docker", "store": STORE, "docker": docker})
    assert len(found) == 1
    assert says in found[0]


def test_a_fleet_by_itself_runs_on_no_other_platform():
    assert "agents do not run on docker" in messages(EdgeSettings, {"model": "m", "fleet": "f.yaml", "platform": "docker"})[0]


def test_devices_need_a_cloud_role_that_they_can_reach():
    hybrid = {**GOOD, "fleet": "f.yaml", "platform": "kubernetes", "store": STORE}
    assert "devices cannot reach a ClusterIP" in messages(HybridSettings, hybrid)[0]
    assert messages(HybridSettings, {**hybrid, "kubernetes": {"service_type": "LoadBalancer"}}) == []
