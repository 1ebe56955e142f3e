import json

import pulumi
import pytest

from isthmus import stack

SERVICE = {"model": "models/digits", "requests_per_second": 20, "p95_ms": 50}
FLEET = {"model": "models/digits", "fleet": "fleets/cameras.yaml"}


@pytest.fixture
def read(monkeypatch):
    """Reads a stack file's sections, from the repository's folder."""

    def run(**sections):
        values = {f"models:{name}": json.dumps(content) for name, content in sections.items()}
        monkeypatch.setattr(pulumi.Config, "get_object", lambda _, key: json.loads(values.get(f"models:{key}", "null")))
        return stack.read(pulumi.Config("models"))

    return run


def test_what_is_declared_comes_back_by_section(read):
    found = read(services={"digits": SERVICE}, fleets={"cams": FLEET})
    assert {section: list(components) for section, components in found.items()} == {
        "services": ["digits"],
        "fleets": ["cams"],
        "hybrids": [],
    }
    assert found["services"]["digits"].settings.p95_ms == SERVICE["p95_ms"]
    assert [device.name for device in found["fleets"]["cams"].fleet.devices] == ["camera-1", "camera-2", "camera-3"]


def test_every_problem_of_every_component_is_in_one_message(read):
    with pytest.raises(pulumi.RunError) as caught:
        read(services={"a": {**SERVICE, "p95_ms": -1}}, hybrids={"b": {**SERVICE, **FLEET, "recipe": "int9"}})
    assert "services.a.p95_ms" in str(caught.value)
    assert "hybrids.b.recipe" in str(caught.value)


def test_a_mistake_that_both_halves_of_a_hybrid_see_is_said_once(read):
    with pytest.raises(pulumi.RunError) as caught:
        read(hybrids={"b": {**SERVICE, **FLEET, "model": "models/nothing"}})
    assert str(caught.value).count("models/nothing") == 1


@pytest.mark.parametrize(("section", "arguments"), [("hybrids", {**SERVICE, **FLEET}), ("fleets", FLEET)])
def test_a_recipe_for_servers_alone_is_refused_before_anything_compiles(read, section, arguments):
    with pytest.raises(pulumi.RunError) as caught:
        read(**{section: {"b": {**arguments, "recipe": "serving-only"}}})
    assert str(caught.value).count("serving-only makes nothing that devices can run") == 1
    assert f"{section}.b.recipe" in str(caught.value)
    assert read(services={"b": {**SERVICE, "recipe": "serving-only"}})["services"]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"services": {"a": {**SERVICE, "local": {"port": 9}}, "b": {**SERVICE, "local": {"grpc_port": 9}}}},
            "port 9 is services.a.local.port's already",
        ),
        ({"fleets": {"a": FLEET, "b": FLEET}}, "fleet 'cameras' is fleets.a.fleet's already"),
        ({"services": {"a-cloud": SERVICE}, "hybrids": {"a": {**SERVICE, **FLEET}}}, "name 'a-cloud' is services.a-cloud's already"),
    ],
)
def test_what_two_components_cannot_both_have_is_named(read, sections, said):
    with pytest.raises(pulumi.RunError) as caught:
        read(**sections)
    assert said in str(caught.value)


def test_an_empty_stack_says_what_to_declare(read):
    with pytest.raises(pulumi.RunError, match="this stack declares nothing"):
        read()


def test_a_section_that_is_no_mapping_is_named(read):
    with pytest.raises(pulumi.RunError, match="services: found list"):
        read(services=["digits"])


def test_the_stacks_prices_are_every_components_unless_it_has_its_own(read):
    prices, own = {"as_of": "2027-01-02", "servers": {"local": 0.1}}, {"as_of": "2027-01-03"}
    found = read(services={"a": SERVICE, "b": {**SERVICE, "prices": own}}, fleets={"cams": FLEET}, prices=prices)
    assert found["services"]["a"].settings.prices == found["fleets"]["cams"].settings.prices == prices
    assert found["services"]["b"].settings.prices == own


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ({"servers": {"local": 1}}, "prices.as_of: None is not a day"),
        ({"as_of": "2027-01-02", "servers": {"local": -1}}, "prices.servers.local: -1 is not a number from 0 on"),
        ({"as_of": "2027-01-02", "server": {}}, "prices.server: unknown key"),
        ([1], "prices: found list; expected a price table"),
    ],
)
def test_wrong_prices_are_named_once(read, prices, said):
    with pytest.raises(pulumi.RunError) as caught:
        read(services={"a": SERVICE, "b": SERVICE}, prices=prices)
    assert str(caught.value).count(said) == 1


KEYS = {"endpoint": "https://s3.test", "access_key": "AK-in-plain", "secret_key": "SK-in-plain"}
GATEWAY = {"api_keys": {"team-a": "a-key-of-sixteen-signs", "team.b": "b-key-of-sixteen-signs"}}
KUBERNETES = {"kubeconfig": "apiVersion: v1\nkind: Config\n"}


@pytest.fixture
def warned(monkeypatch):
    said = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    return said


def test_every_plain_secret_is_warned_about_with_the_command_that_encrypts_it(read, warned):
    read(services={"my-digits": {**SERVICE, "store": KEYS, "gateway": GATEWAY, "kubernetes": KUBERNETES}})
    (text,) = warned
    assert sorted(line.strip() for line in text.splitlines()[1:]) == [
        "pulumi config set --secret --path 'models:services.my-digits.gateway.api_keys.team-a'",
        "pulumi config set --secret --path 'models:services.my-digits.gateway.api_keys[\"team.b\"]'",
        "pulumi config set --secret --path 'models:services.my-digits.kubernetes.kubeconfig'",
        "pulumi config set --secret --path 'models:services.my-digits.store.access_key'",
        "pulumi config set --secret --path 'models:services.my-digits.store.secret_key'",
    ]
    for secret in (*KEYS.values(), *GATEWAY["api_keys"].values(), "apiVersion"):
        assert secret == KEYS["endpoint"] or secret not in text


def test_a_kubeconfig_of_one_line_is_a_secret_too(read, warned):
    read(services={"digits": {**SERVICE, "kubernetes": {"kubeconfig": '{"users": [{"user": {"token": "abc"}}]}'}}})
    (text,) = warned
    assert "kubernetes.kubeconfig" in text


def test_where_some_are_encrypted_the_stacks_file_tells_which(read, warned, monkeypatch, tmp_path):
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: models\nstackConfigDir: stacks\n")
    keys = {"access_key": "AK-in-plain", "secret_key": {"secure": "v1:abc"}, "pull_secret_key": "of another file"}
    written = {"config": {"models:services": {"digits": {"store": keys, "gateway": {"api_keys": {"secure": "v1:abc"}}}}}}
    (tmp_path / "stacks" / "Pulumi.dev.yaml").write_text(json.dumps(written))
    monkeypatch.setattr(pulumi, "get_root_directory", lambda: str(tmp_path))
    monkeypatch.setattr(pulumi, "get_stack", lambda: "dev")
    monkeypatch.setattr(pulumi.runtime.config, "is_config_secret", lambda key: key == "models:services")
    pull = {"pull_access_key": "PA", "pull_secret_key": "PS"}
    read(services={"digits": {**SERVICE, "store": {**KEYS, **pull}, "gateway": GATEWAY}})
    (text,) = warned
    assert text.splitlines()[1:] == ["  pulumi config set --secret --path 'models:services.digits.store.access_key'"]
    (tmp_path / "stacks" / "Pulumi.dev.yaml").unlink()  # another one was named: nobody can tell
    read(services={"digits": {**SERVICE, "store": KEYS}})
    assert len(warned) == 1


def test_what_is_no_secret_is_not_warned_about(read, warned):
    public = {"jwt_issuer": "https://issuer.test", "jwks": '{"keys": [{"kty": "EC"}]}'}
    read(services={"digits": {**SERVICE, "kubernetes": {"kubeconfig": "/home/me/.kube/config"}, "gateway": public}})
    assert warned == []
