"""What each component declares on each platform, run against Pulumi's mocks: the names of resources are a promise to running stacks."""

import json
from pathlib import Path

import numpy as np
import pulumi
import pytest
import yaml
from tests import declaring
from tests.offload.test_plan import MEASURED

from isthmus import grouping, planning, routing
from isthmus.arguments.checking import Checked
from isthmus.arguments.policy_file import ClassFactors, load_policy
from isthmus.compile import request
from isthmus.errors import StoreError
from isthmus.gateway import DEVICE_HEADER
from isthmus.migration.situation import NOTHING_MEASURED
from isthmus.observing.parts import Block
from isthmus.offload import plan
from isthmus.platforms.platform import Platform
from isthmus.platforms.registry import PLATFORMS, observer_of
from isthmus.platforms.served import Served
from isthmus.routing import Policies, asking
from isthmus.sizing.offload import Offload
from isthmus.sizing.rollout import Download
from isthmus_agent.formats import bundle
from isthmus_agent.formats.roster import Device, Roster

SERVICE = {"model": "models/digits", "requests_per_second": 20, "p95_ms": 50}
STORE = {"endpoint": "http://store", "access_key": "a", "secret_key": "hunter2"}
HOSTS = [{"name": "a", "address": "unix:///run/a.sock"}, {"name": "b", "address": "unix:///run/b.sock", "ip": "10.0.0.2"}]
ON = {
    "local": {},
    "docker": {"store": STORE, "docker": {"hosts": HOSTS}},
    "kubernetes": {"store": STORE, "kubernetes": {"service_type": "NodePort", "service_monitor": "never"}},
}
FLEET = {"fleet": "fleets/cameras.yaml"}
ELSEWHERE = {"store": STORE, "keys": "keys", "device_access": {"access_key": "d", "secret_key": "e"}}
OWN, CORE, POLICIES = "isthmus:index", "kubernetes:core/v1", "kubernetes:networking.k8s.io/v1:NetworkPolicy"
# What a service NAME declares, by platform; for a hybrid's service NAME is another one.
SERVING = {
    "local": {
        f"{OWN}:LocalSupervisor local",
        *(f"{OWN}:{it}" for it in ("ModelFolder NAME-model", "LocalProcesses NAME-server", "LocalProcesses NAME-gateway")),
    },
    "docker": {
        *(f"pulumi:providers:docker NAME-{host}" for host in "ab"),
        *(f"docker:index/remoteImage:RemoteImage NAME-{it}" for it in ("a-fetch", "a-gateway", "a-serving", "b-fetch", "b-serving")),
        *(f"{OWN}:Docker{it}" for it in ("ModelFolder NAME-a-model", "ModelFolder NAME-b-model")),
        *(f"{OWN}:Docker{it}" for it in ("Server NAME-a-server", "Server NAME-b-server")),
        *(f"{OWN}:Docker{it}" for it in ("Files NAME-gateway-files", "Gate NAME-gateway-gate")),
        f"{OWN}:PublishedRelease NAME-release",
        "docker:index/container:Container NAME-gateway",
    },
    "kubernetes": {
        "pulumi:providers:kubernetes NAME-cluster",
        f"{OWN}:PublishedRelease NAME-release-stable",
        *(f"{OWN}:{it}" for it in ("KubernetesClaim NAME-claim", "GatewayTraffic NAME-traffic", "KubernetesCapacity NAME-capacity")),
        *(f"kubernetes:apps/v1:Deployment NAME-{it}" for it in ("gateway", "server-stable")),
        "kubernetes:autoscaling/v2:HorizontalPodAutoscaler NAME-autoscaler-stable",
        *(f"{CORE}:ConfigMap NAME-{it}" for it in ("dashboard", "gateway-config", "rules", "server-config")),
        f"{CORE}:Namespace NAME-namespace",
        *(f"{CORE}:Secret NAME-{it}" for it in ("gateway-secret", "store-secret")),
        *(f"{CORE}:Service NAME-{it}" for it in ("servers-stable", "service")),
        f"{CORE}:ServiceAccount NAME-account",
        *(f"{POLICIES} NAME-{it}" for it in ("default-deny", "gateway-policy", "servers-policy")),
        *(f"kubernetes:policy/v1:PodDisruptionBudget NAME-{it}" for it in ("budget-stable", "gateway-budget")),
    },
}
ROLLING = {
    f"{OWN}:LocalSupervisor local",
    *(f"{OWN}:LocalProcesses NAME-camera-{number}" for number in (1, 2, 3)),
    *(f"{OWN}:{it}" for it in ("FleetRepository NAME-repository", "LocalDevices NAME-devices")),
    *(f"{OWN}:FleetWave NAME-wave-{number}" for number in (1, 2)),
}
OWN_STORE = {
    *(f"{OWN}:{it}" for it in ("StoreCredentials store-credentials", "LoopbackCertificate store-certificate")),
    *(f"{OWN}:{it}" for it in ("LocalProcesses store", "Bucket bucket-models")),
}


def graph(parts: set[str], name: str) -> set[str]:
    return {it.replace("NAME", name) for it in parts}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The compiles that were asked for."""
    with declaring.compiled(monkeypatch, tmp_path) as asked:
        yield asked


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("platform", list(ON))
def test_a_service_declares_what_its_platform_needs(platform):
    found = declaring.run({"services": {"digits": {**SERVICE, **ON[platform], "platform": platform}}})
    assert found.graph() == graph(SERVING[platform], "digits") | {f"{OWN}:CloudModelService digits"}
    outputs = found.outputs
    assert outputs["services.digits.place"]["platform"] == platform
    assert outputs["services.digits.replicas"] == (len(HOSTS) if platform == "docker" else 1)
    assert outputs["services.digits.endpoint"].startswith("http://")


@pytest.mark.usefixtures("asked")
def test_an_object_of_a_cluster_goes_before_it_is_made_anew_since_its_name_stays_and_a_namespace_never_goes_so():
    found = declaring.run({"services": {"digits": {**SERVICE, **ON["kubernetes"], "platform": "kubernetes"}}})
    objects = {it for it in found.resources if it[0].startswith("kubernetes:")}
    namespace = (f"{CORE}:Namespace", "digits-namespace")
    assert found.deleted_first == objects - {namespace}
    assert found.retained == {namespace}


@pytest.mark.usefixtures("asked")
def test_a_fleet_declares_its_agents_and_a_store_where_it_has_none():
    own = declaring.run({"fleets": {"cams": {"model": "models/digits", **FLEET}}})
    assert own.graph() == graph(ROLLING, "cams") | OWN_STORE | {f"{OWN}:EdgeFleetRollout cams"}
    given = declaring.run({"fleets": {"cams": {"model": "models/digits", **ELSEWHERE, **FLEET}}})
    assert given.graph() == graph(ROLLING, "cams") | {f"{OWN}:EdgeFleetRollout cams"}
    assert list(own.outputs["fleets.cams.devices"]) == ["camera-1", "camera-2", "camera-3"]


@pytest.mark.usefixtures("asked")
def test_a_fleet_in_a_store_of_the_users_own_says_who_signs_and_as_whom_its_devices_here_reach_it():
    with pytest.raises(pulumi.RunError) as refused:
        declaring.run({"fleets": {"cams": {"model": "models/digits", "store": STORE, **FLEET}}})
    assert "fleets.cams.keys: nobody says who signs" in str(refused.value)
    assert "isthmus keys init cameras --keys keys" in str(refused.value)
    assert "fleets.cams.device_access: nobody says by which credentials the 3 devices" in str(refused.value)


def fleet_file(folder, text):
    (folder / "fleet.yaml").write_text(
        "name: cameras\ndevices: [{name: camera-1, class: small}, {name: camera-2}, {name: camera-3}]\n" + text
    )
    return {"model": "models/digits", "fleet": str(folder / "fleet.yaml")}


def test_each_class_of_devices_gets_its_own_release_of_one_model(asked, tmp_path):
    variants = [{"class": "small", "recipe": "int8"}, {"class": "*", "recipe": "float16"}]
    found = declaring.run({"fleets": {"cams": {**fleet_file(tmp_path, "classes: {small: {}}"), "variants": variants}}})
    assert [request.recipe for request in asked] == ["int8", "float16"]
    releases = {recipe: declaring.release(tmp_path, recipe=recipe).digest for recipe in ("int8", "float16")}
    for wave in found.names("FleetWave"):
        assert found.resources[f"{OWN}:FleetWave", wave]["releases"] == {"small": releases["int8"], "*": releases["float16"]}
    assert found.outputs["fleets.cams.digest"] == releases["float16"]
    plan = found.outputs["fleets.cams.plan"]
    assert [(it["class"], it["digest"]) for it in plan["variants"]] == [("small", releases["int8"]), ("*", releases["float16"])]
    assert [(wave["name"], wave["devices"]) for wave in plan["waves"]] == [("canary", 1), ("rest", 2)]


@pytest.mark.usefixtures("asked")
def test_a_class_that_nothing_fits_ends_the_preview_with_its_numbers(tmp_path):
    with pytest.raises(pulumi.RunError) as refused:
        declaring.run({"fleets": {"cams": fleet_file(tmp_path, "classes: {small: {memory_megabytes: 20}}")}})
    assert "fleets.cams.recipe: devices of class small: int8 needs 44 MB of memory" in str(refused.value)
    assert "of 20 MB" in str(refused.value)


@pytest.mark.usefixtures("asked")
def test_what_is_wrong_with_a_fleets_waves_and_variants_is_said_before_anything_is_compiled(tmp_path, asked):
    wrong = {"variants": [{"class": "tiny", "recipe": "int8"}], "waves": [{"group": "lab"}, {"percent": 100}]}
    with pytest.raises(pulumi.RunError) as refused:
        declaring.run({"fleets": {"cams": {**fleet_file(tmp_path, "classes: {small: {}}"), **wrong}}})
    assert "fleets.cams.variants[0].class: the fleet file has no class 'tiny'" in str(refused.value)
    assert "fleets.cams.waves[0].group: no device has the label 'group'" in str(refused.value)
    assert not asked


@pytest.mark.usefixtures("asked")
def test_a_fleet_elsewhere_is_planned_for_the_devices_of_its_signed_roster(tmp_path, monkeypatch):
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("{name: cams}")
    given = {"model": "models/digits", "fleet": str(fleet), "waves": [{"count": 2}, {"percent": 100}], "encrypt": True, **ELSEWHERE}
    del given["device_access"]
    read = []
    devices = tuple(Device(f"camera-{number}", "*") for number in range(10))
    asked = []
    monkeypatch.setattr("isthmus.platforms.rosters.Keyring.load", str)
    monkeypatch.setattr("isthmus.edge.downloads", lambda *of, encrypt, **_: asked.append((*of, encrypt)) or {"*": Download(5000, 300)})
    monkeypatch.setattr("isthmus.platforms.rosters.roster.read", lambda *args: read.append(args) or Roster("cams", devices))
    found = declaring.run({"fleets": {"cams": given}})
    assert [it["devices"] for it in found.outputs["fleets.cams.plan"]["waves"]] == [2, 8]
    assert [(it["full_bytes"], it["delta_bytes"]) for it in found.outputs["fleets.cams.plan"]["waves"]] == [(10_000, 600), (40_000, 2400)]
    ((name, where, releases, is_sealed),) = asked
    assert [found.resources[f"{OWN}:FleetWave", it]["encrypt"] for it in found.names("FleetWave")] == [is_sealed] * 2 == [True] * 2
    assert (name, where["store"]["secret_key"], where["prefix"], [*releases]) == ("cams", "hunter2", "models/dev/cams/", ["*"])
    assert found.names("LocalDevices") == []
    assert found.outputs["fleets.cams.devices"] == {}
    ((place, keys, name),) = read
    assert (place.prefix, keys, name) == ("models/dev/cams/", "keys", "cams")
    monkeypatch.setattr("isthmus.platforms.rosters.roster.read", failing)
    assert not declaring.run({"fleets": {"cams": given}}).outputs["fleets.cams.plan"].get("waves")


def failing(*_):
    raise StoreError("it does not answer")


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("data", "inputs"), [("stays_in_group", "stay_in_group"), ("stays_on_device", "stay_on_device"), (None, "stay_on_device")]
)
def test_a_fleet_with_groups_declares_their_broker_and_tells_its_devices(tmp_path, data, inputs):
    asked = fleet_file(tmp_path, "classes: {small: {}}\ngroups: {yard: [camera-1, camera-2]}\n")
    found = declaring.run({"fleets": {"cams": {**asked, **({"data": data} if data else {})}}})
    processes = {name: it for (kind, name), it in found.resources.items() if kind == f"{OWN}:LocalProcesses"}
    groups = json.loads(processes["cams-_broker"]["files"]["groups.json"])
    assert {group: sorted(members) for group, members in groups.items()} == {"yard": ["camera-1", "camera-2"]}
    for name in ("camera-1", "camera-2"):
        files = processes[f"cams-{name}"]["files"]
        assert files["group-password"] == groups["yard"][name]
        assert f'"inputs": "{inputs}"' in files["config.json"]
        assert "mqtts://127.0.0.1:4" in files["config.json"]
    assert "group" not in processes["cams-camera-3"]["files"]["config.json"]


@pytest.mark.parametrize("platform", list(ON))
def test_a_hybrid_declares_both_compiles_once_and_is_looked_at_once(platform, asked, monkeypatch):
    sought, planned = [], []
    find, plan = request.find_source, planning.plan_service
    monkeypatch.setattr(request, "find_source", lambda *args, **named: sought.append(args) or find(*args, **named))
    monkeypatch.setattr(planning, "plan_service", lambda *args: planned.append(args) or plan(*args))
    keys = {} if platform == "local" else {name: ELSEWHERE[name] for name in ("keys", "device_access")}
    found = declaring.run({"hybrids": {"digits": {**SERVICE, **FLEET, **ON[platform], **keys, "platform": platform}}})
    wanted = graph(SERVING[platform], "digits-cloud") | graph(ROLLING, "digits-edge") | (OWN_STORE if platform == "local" else set())
    if platform == "local":  # a release comes beside the one before, until the last wave has left that
        wanted -= {f"{OWN}:ModelFolder digits-cloud-model"}
        wanted |= {f"{OWN}:ServedVersions digits-cloud-model", f"{OWN}:RetiredVersions digits-retired"}
    components = {f"{OWN}:HybridDeployment digits", f"{OWN}:CloudModelService digits-cloud", f"{OWN}:EdgeFleetRollout digits-edge"}
    assert found.graph() == wanted | components
    assert (len(sought), len(planned), len(asked)) == (1, 1, 1)


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("said", "asks"),
    [({}, False), ({"min_confidence": 0.8}, True), ({"data": "may_leave_device"}, True), ({"data": "stays_on_device"}, False)],
)
def test_devices_of_a_hybrid_have_an_address_of_the_cloud_only_where_the_program_says_so(said, asks):
    found = declaring.run({"hybrids": {"digits": {**SERVICE, **FLEET, **said}}})
    (device, *_) = [
        it for (kind, name), it in found.resources.items() if name == "digits-edge-camera-1" and kind == f"{OWN}:LocalProcesses"
    ]
    assert ("fallback" in str(device["files"])) is asks
    assert ('"same_version": true' in str(device["files"])) is asks


def gateway_files(found, platform):
    """What the gateway of the hybrid `digits` gets as files, as one text."""
    kind, name = {
        "local": (f"{OWN}:LocalProcesses", "digits-cloud-gateway"),
        "docker": (f"{OWN}:DockerFiles", "digits-cloud-gateway-files"),
        "kubernetes": ("kubernetes:core/v1:ConfigMap", "digits-cloud-gateway-config"),
    }[platform]
    return str(found.resources[kind, name])


@pytest.mark.parametrize("platform", list(ON))
@pytest.mark.usefixtures("asked")
def test_only_a_hybrid_whose_devices_ask_tells_them_apart_at_its_gateway(platform):
    keys = {} if platform == "local" else {name: ELSEWHERE[name] for name in ("keys", "device_access")}
    given = {**SERVICE, **FLEET, **ON[platform], **keys, "platform": platform}
    quiet = declaring.run({"hybrids": {"digits": given}})
    assert DEVICE_HEADER not in str(quiet.resources)
    assert "devices" not in quiet.outputs["hybrids.digits.cloud"]["plan"]
    asks = declaring.run({"hybrids": {"digits": {**given, "min_confidence": 0.8}}})
    limits = gateway_files(asks, platform)
    plan = asks.outputs["hybrids.digits.cloud"]["plan"]
    gateways = 2 if platform == "kubernetes" else 1
    assert f'"max_requests": {plan["devices"]["in_flight"] // gateways},' in limits
    assert '"priority": "HIGH"' in limits
    if platform == "kubernetes":
        (traffic,) = [it for (kind, _), it in asks.resources.items() if kind == f"{OWN}:GatewayTraffic"]
        assert traffic["options"] == {"timeout_seconds": 30, "devices_apart": True}
    else:
        assert DEVICE_HEADER in limits
    assert plan["inputs"]["offload"] == {"on": True, "devices": 3}


@pytest.mark.usefixtures("asked")
def test_a_hybrid_is_sized_for_its_fleets_devices_and_says_it():
    offload = {"unsure_percent": 50, "correlation": 0, "quantile_percent": 99}
    given = {**SERVICE, **FLEET, "min_confidence": 0.8, "edge_requests_per_second": 300, "offload": offload}
    plan = declaring.run({"hybrids": {"digits": given}}).outputs["hybrids.digits.cloud"]["plan"]
    # Of three devices that are unsure by halves all three are at the 99 % quantile.
    assert (plan["devices"]["mean_per_second"], plan["devices"]["quantile_per_second"]) == (150, 300)
    assert plan["devices"]["replicas_without"] <= plan["replicas"]


@pytest.mark.usefixtures("asked")
def test_a_hybrid_without_a_fleet_has_no_devices_before_its_gateway():
    given = {**SERVICE, **FLEET, "min_confidence": 0.8, "mode": "cloud", "offload": {"devices": 4}}
    found = declaring.run({"hybrids": {"digits": given}})
    assert DEVICE_HEADER not in str(found.resources)
    assert "devices" not in found.outputs["hybrids.digits.cloud"]["plan"]


@pytest.mark.usefixtures("asked")
def test_what_is_said_of_devices_that_ask_nobody_is_refused():
    with pytest.raises(pulumi.RunError, match=r"hybrids\.digits\.offload: the devices ask nobody"):
        declaring.run({"hybrids": {"digits": {**SERVICE, **FLEET, "offload": {"devices": 4}}}})


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"devices": 0}, "devices"),
        ({"unsure_percent": 101}, "unsure_percent"),
        ({"unsure_percent": float("nan")}, "unsure_percent"),
        ({"correlation": -0.1}, "correlation"),
        ({"quantile_percent": 100}, "quantile_percent"),
        ({"quantile_percent": "many"}, "quantile_percent"),
        ({"unsure": 5}, "unsure"),
    ],
)
def test_numbers_of_devices_that_are_none_are_refused_at_their_place(wrong, said):
    given = {**SERVICE, **FLEET, "min_confidence": 0.8, "edge_requests_per_second": 5, "offload": wrong}
    with pytest.raises(pulumi.RunError, match=rf"hybrids\.digits\.offload\.{said}"):
        declaring.run({"hybrids": {"digits": given}})


@pytest.mark.usefixtures("asked")
def test_a_share_of_what_nobody_said_is_refused():
    given = {**SERVICE, **FLEET, "min_confidence": 0.8, "offload": {"unsure_percent": 5}}
    with pytest.raises(pulumi.RunError, match=r"hybrids\.digits\.edge_requests_per_second: is not known"):
        declaring.run({"hybrids": {"digits": given}})


def test_auto_tells_devices_to_go_by_their_bundle_and_bundles_what_the_table_says(monkeypatch, tmp_path):
    with declaring.compiled(monkeypatch, tmp_path, MEASURED):
        found = declaring.run({"hybrids": {"digits": {**SERVICE, **FLEET, "min_confidence": "auto"}}})
    inputs = {name: it for (kind, name), it in found.resources.items() if kind in (f"{OWN}:FleetWave", f"{OWN}:LocalProcesses")}
    assert [inputs[f"digits-edge-wave-{wave}"]["min_confidence"] for wave in (1, 2)] == [{"*": 0.7}] * 2
    assert '"min_confidence": "as_signed"' in inputs["digits-edge-camera-1"]["files"]["config.json"]


def test_a_policy_is_solved_at_preview_shown_and_bundled_for_its_release(monkeypatch, tmp_path):
    lines = []
    monkeypatch.setattr(pulumi.log, "info", lambda text, *_, **__: lines.append(text))
    given = {**SERVICE, **FLEET, "data": "may_leave_device", "policy": "policies/digits.yaml"}
    with declaring.compiled(monkeypatch, tmp_path):
        found = declaring.run({"hybrids": {"digits": given}})
        plain = declaring.run({"hybrids": {"digits": {**SERVICE, **FLEET, "data": "may_leave_device"}}})
    waves = [found.resources[f"{OWN}:FleetWave", f"digits-edge-wave-{wave}"] for wave in (1, 2)]
    assert [it["policies"].keys() for it in waves] == [{"*"}] * 2
    assert json.loads(waves[0]["policies"]["*"])["release"] == waves[0]["releases"]["*"]
    plan = found.outputs["hybrids.digits.edge"]["plan"]["policy"]["*"]
    assert plan["cost_ms"] < min(plan["rivals_ms"].values())
    assert any(text.startswith("policy policies/digits.yaml (*): a request costs ") for text in lines)
    assert found.graph() == plain.graph()
    assert "policies" not in plain.resources[f"{OWN}:FleetWave", "digits-edge-wave-1"]
    assert "policy" not in plain.outputs["hybrids.digits.edge"]["plan"]
    device = (f"{OWN}:LocalProcesses", "digits-edge-camera-1")
    assert ['"policy": "as_signed"' in str(it.resources[device]["files"]) for it in (found, plain)] == [True, False]


def test_a_group_is_learned_at_preview_shown_and_bundled_for_its_release(monkeypatch, tmp_path):
    lines = []
    monkeypatch.setattr(pulumi.log, "info", lambda text, *_, **__: lines.append(text))
    monkeypatch.setattr(grouping, "default_cache_directory", lambda: tmp_path)
    random, labels = np.random.default_rng(1), np.arange(90) % 3
    shares = {view: np.eye(3)[labels] + random.gamma(1, size=(90, 3)) for view in ("near", "far")}
    monkeypatch.setattr(grouping, "edge_answers", lambda *_: {view: it / it.sum(axis=1, keepdims=True) for view, it in shares.items()})
    np.savez(tmp_path / "views.npz", labels=labels, **shares)
    devices = [{"name": f"camera-{view}", "labels": {"view": view}} for view in shares]
    fleet = {"name": "cameras", "devices": devices, "groups": {"yard": [it["name"] for it in devices]}}
    (tmp_path / "fleet.yaml").write_text(json.dumps(fleet))
    given = {"model": "models/digits", "fleet": str(tmp_path / "fleet.yaml")}
    fusion = {"views": str(tmp_path / "views.npz")}
    with declaring.compiled(monkeypatch, tmp_path):
        found = declaring.run({"fleets": {"digits": {**given, "fusion": fusion}}})
        plain = declaring.run({"fleets": {"digits": given}})
        with pytest.raises(Exception, match=r"fleets\.digits\.fusion: tells the group what devices answer"):
            declaring.run({"fleets": {"digits": {**given, "fusion": fusion, "data": "stays_on_device"}}})
    wave = found.resources[f"{OWN}:FleetWave", "digits-wave-1"]
    said = {**wave["groups"]["*"], "wait_ms": int(wave["groups"]["*"]["wait_ms"])}  # on the wire a number is a fraction
    signed = bundle.signed_group(said, wave["releases"]["*"])
    assert ([it.name for it in signed.group.members], signed.wait_ms) == (["far", "near"], 200)
    plan = found.outputs["fleets.digits.plan"]["group"]["*"]
    assert plan["digest"] == signed.group.digest
    assert any(text.startswith("together (*): ") and "; its best member, " in text for text in lines)
    assert found.graph() == plain.graph()
    assert "groups" not in plain.resources[f"{OWN}:FleetWave", "digits-wave-1"]
    assert "group" not in plain.outputs["fleets.digits.plan"]


def test_a_price_for_wrong_answers_makes_asking_when_unsure_a_place_and_all_is_solved_once(monkeypatch, tmp_path):
    raw = yaml.safe_load(Path("policies/digits.yaml").read_text())
    file = tmp_path / "policy.yaml"
    file.write_text(json.dumps({**raw, "worth": {**raw["worth"], "wrong_answer_ms": 800}}))
    lines, solved, tables, solve, rows_of = [], [], [], routing.solved, plan.rows_of
    monkeypatch.setattr(pulumi.log, "info", lambda text, *_, **__: lines.append(text))
    monkeypatch.setattr(routing, "solved", lambda *given: solved.append(given) or solve(*given))
    monkeypatch.setattr(plan, "rows_of", lambda groups: tables.append(groups) or rows_of(groups))
    plan.table_of.cache_clear()
    given = {**SERVICE, **FLEET, "min_confidence": "auto", "edge_requests_per_second": 300, "policy": str(file)}
    with declaring.compiled(monkeypatch, tmp_path, MEASURED):
        found = declaring.run({"hybrids": {"digits": given}})
    assert (len(solved), len(tables)) == (1, 1)
    signed = json.loads(found.resources[f"{OWN}:FleetWave", "digits-edge-wave-1"]["policies"]["*"])
    assert (signed["format"], signed["places"]) == (2, ["device", "device_then_cloud", "cloud"])
    assert '"deadline_ms": 100' in found.resources[f"{OWN}:LocalProcesses", "digits-edge-camera-1"]["files"]["config.json"]
    devices = found.outputs["hybrids.digits.cloud"]["plan"]["devices"]
    assert devices["quantile_per_second"] >= devices["mean_per_second"] > 0
    assert any("by their policy, simulated; beta-binomial, p = " in text for text in lines)
    assert any("wrong answers, each worth 800 ms: device " in text for text in lines)


@pytest.mark.usefixtures("asked")
def test_a_price_for_answers_that_nobody_counted_fails_the_preview_at_the_file(tmp_path):
    raw = yaml.safe_load(Path("policies/digits.yaml").read_text())
    file = tmp_path / "policy.yaml"
    file.write_text(json.dumps({**raw, "worth": {**raw["worth"], "wrong_answer_ms": 800}}))
    given = {**SERVICE, **FLEET, "data": "may_leave_device", "edge_requests_per_second": 300, "policy": str(file)}
    with pytest.raises(pulumi.RunError, match=r"hybrids\.digits\.policy: device\.error_percent: is neither given nor measured"):
        declaring.run({"hybrids": {"digits": given}})


@pytest.mark.parametrize("said", ["auto", 0.8, 1.0])
def test_a_hybrid_is_sized_for_what_its_devices_pass_on_as_measured(said, monkeypatch, tmp_path):
    given = {**SERVICE, **FLEET, "min_confidence": said, "edge_requests_per_second": 300}
    with declaring.compiled(monkeypatch, tmp_path, MEASURED):
        found = declaring.run({"hybrids": {"digits": given}}).outputs
        again = declaring.run({"hybrids": {"digits": {**given, "offload": {"unsure_percent": 50}}}}).outputs
    (chosen,) = [it["share"] for it in found["hybrids.digits.edge"]["plan"]["offload"]["rows"] if it["is_chosen"]]
    assert chosen > 0
    assert found["hybrids.digits.cloud"]["plan"]["devices"]["mean_per_second"] == pytest.approx(300 * chosen, abs=0.01)
    assert again["hybrids.digits.cloud"]["plan"]["devices"]["mean_per_second"] == 150  # the program knows better


@pytest.mark.usefixtures("asked")
def test_a_hybrid_is_sized_for_what_its_policy_sends_to_the_cloud():
    given = {**SERVICE, **FLEET, "data": "may_leave_device", "edge_requests_per_second": 300}
    found = declaring.run({"hybrids": {"digits": {**given, "policy": "policies/digits.yaml"}}}).outputs
    settings = load_policy("policies/digits.yaml", Path.cwd(), "policy")
    sized = asking(Policies(settings, "policy"), {"*": 3}, NOTHING_MEASURED, 0.0, Offload(3))
    assert 0.5 < sized.share < 1
    devices = found["hybrids.digits.cloud"]["plan"]["devices"]
    assert devices["mean_per_second"] == pytest.approx(300 * sized.share, abs=0.01)
    assert devices["quantile_per_second"] == pytest.approx(100 * sized.quantile_devices, abs=0.01)
    cameras = Policies(settings.model_copy(update={"classes": {"camera": ClassFactors()}}), "policy")
    assert asking(cameras, {"*": 3, "camera": 1}, NOTHING_MEASURED, 0.0, Offload()).share == pytest.approx(sized.share / 4)


@pytest.mark.usefixtures("asked")
def test_auto_on_a_release_that_says_nothing_fails_the_preview_and_a_number_does_not():
    with pytest.raises(pulumi.RunError, match="min_confidence: auto cannot choose for sha256:"):
        declaring.run({"hybrids": {"digits": {**SERVICE, **FLEET, "min_confidence": "auto"}}})
    found = declaring.run({"hybrids": {"digits": {**SERVICE, **FLEET, "min_confidence": 0.8}}})
    assert "min_confidence" not in found.resources[f"{OWN}:FleetWave", "digits-edge-wave-1"]


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(("percent", "leads"), [(10, True), (0, False)])
def test_a_canary_leads_the_fleet_of_a_hybrid_and_one_that_gets_no_request_leads_nobody(percent, leads, tmp_path):
    canary = {"canary": {"version": 2}, "canary_percent": percent, "platform": "kubernetes", **ON["kubernetes"]}
    keys = {name: ELSEWHERE[name] for name in ("keys", "device_access")}
    found = declaring.run({"hybrids": {"digits": {**SERVICE, **FLEET, **canary, **keys}}})
    old, new = (declaring.release(tmp_path, version=version).digest for version in (1, 2))
    assert found.resources[f"{OWN}:CanaryGate", "digits-cloud-canary"]["canary_digest"] == new
    for wave in found.names("FleetWave"):
        inputs = found.resources[f"{OWN}:FleetWave", wave]
        assert inputs["releases"] == {"*": new if leads else old}
        assert inputs.get("cloud_versions") is None
        assert (inputs.get("cloud_split") or {}).get("digest") == (new if leads else None)


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("waves", "promotes"),
    [([{"count": 1}, {"percent": 100}], {"canary": False, "promotion": True}), ([{"percent": 100}], {"canary": True})],
)
def test_a_canary_that_leads_a_fleet_is_promoted_before_the_last_wave(waves, promotes):
    canary = {"canary": {"version": 2}, "platform": "kubernetes", **ON["kubernetes"]}
    keys = {name: ELSEWHERE[name] for name in ("keys", "device_access")}
    found = declaring.run({"hybrids": {"digits": {**SERVICE, **FLEET, **canary, **keys, "waves": waves}}})
    gates = {name: found.resources[f"{OWN}:CanaryGate", name]["auto_promote"] for name in found.names("CanaryGate")}
    assert gates == {f"digits-cloud-{name}": it for name, it in promotes.items()}
    if len(waves) > 1:
        assert f"{OWN}:CanaryGate digits-cloud-promotion" in found.after[f"{OWN}:FleetWave", "digits-edge-wave-2"]
        assert f"{OWN}:FleetWave digits-edge-wave-1" in found.after[f"{OWN}:CanaryGate", "digits-cloud-promotion"]
        assert f"{OWN}:CanaryGate digits-cloud-canary" in found.after[f"{OWN}:FleetWave", "digits-edge-wave-1"]


@pytest.mark.usefixtures("asked")
def test_a_canary_is_a_second_track_and_its_gate():
    canary = {"canary": {"version": 2, "recipe": "float32"}, "platform": "kubernetes", **ON["kubernetes"]}
    found = declaring.run({"services": {"digits": {**SERVICE, **canary}}})
    more = {
        f"{OWN}:CanaryGate digits-canary",
        f"{OWN}:PublishedRelease digits-release-canary",
        "kubernetes:apps/v1:Deployment digits-server-canary",
        "kubernetes:autoscaling/v2:HorizontalPodAutoscaler digits-autoscaler-canary",
        f"{CORE}:Service digits-servers-canary",
        "kubernetes:policy/v1:PodDisruptionBudget digits-budget-canary",
    }
    assert found.graph() == graph(SERVING["kubernetes"], "digits") | more | {f"{OWN}:CloudModelService digits"}


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("choice", "more", "less"),
    [
        ("auto", {f"{OWN}:KubernetesMonitors NAME-monitors"}, set()),
        (
            "always",
            {
                *(f"kubernetes:monitoring.coreos.com/v1:PodMonitor NAME-{it}" for it in ("server-monitor", "gateway-monitor")),
                "kubernetes:monitoring.coreos.com/v1:PrometheusRule NAME-rules",
            },
            {f"{CORE}:ConfigMap NAME-rules"},
        ),
    ],
)
def test_which_monitors_are_declared_is_the_programs_choice_and_no_clusters(choice, more, less, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/nowhere")  # nobody is asked
    kubernetes = {"service_type": "NodePort", "service_monitor": choice}
    found = declaring.run({"services": {"digits": {**SERVICE, "store": STORE, "platform": "kubernetes", "kubernetes": kubernetes}}})
    assert found.graph() == graph((SERVING["kubernetes"] | more) - less, "digits") | {f"{OWN}:CloudModelService digits"}
    if choice == "auto":
        objects = found.resources[f"{OWN}:KubernetesMonitors", "digits-monitors"]["objects"]
        assert [(it["kind"], it["metadata"]["name"]) for it in objects] == [
            ("PodMonitor", "digits-server-monitor"),
            ("PodMonitor", "digits-gateway-monitor"),
            ("PrometheusRule", "digits-alerts"),
        ]


class ToySettings(Checked):
    colour: str = "red"


class ToyObserver:
    """As a platform's module `observe`."""

    def block(self, name, outputs, state):
        return Block(f"toy · {name}")


class Toy(Platform):
    """A platform as somebody else would add one."""

    settings = ToySettings
    cannot = {"canary": "toys have one"}  # noqa: RUF012
    needs = {"toy.colour": "what to paint it with"}  # noqa: RUF012

    def serve(self, component, name, model_name, *, args, made, canary=None, path):
        colour = args.section(ToySettings).colour
        toy = pulumi.CustomResource("toys:index:Toy", f"{name}-toy", {"colour": colour}, pulumi.ResourceOptions(parent=component))
        url = toy.urn.apply(lambda _: f"toy://{colour}/{model_name}")
        return Served(url, url, pulumi.Output.from_input({"platform": "toy"}))

    def observer(self):
        return ToyObserver()


@pytest.mark.usefixtures("asked")
def test_another_platform_is_a_class_and_a_line_in_the_registry(monkeypatch):
    monkeypatch.setitem(PLATFORMS, "toy", Toy())
    service = {**SERVICE, "platform": "toy", "toy": {"colour": "blue"}}
    found = declaring.run({"services": {"digits": service}})
    assert found.graph() == {f"{OWN}:CloudModelService digits", "toys:index:Toy digits-toy"}
    assert found.resources["toys:index:Toy", "digits-toy"] == {"colour": "blue"}
    assert found.outputs["services.digits.endpoint"] == "toy://blue/digits"
    assert found.outputs["services.digits.plan"]["inputs"]["kinds"] == ["cpu-2"]
    outputs = {"place": found.outputs["services.digits.place"]}
    assert observer_of(outputs).block("digits", outputs, None).title == "toy · digits"

    for wrong, said in (
        ({**service, "toy": {"color": "blue"}}, "services.digits.toy.color: no such argument. Fix: did you mean 'colour'?"),
        ({**service, "toy": {"colour": ""}}, "services.digits.toy.colour: is missing; the platform toy needs it"),
        ({**service, "canary": {"version": 2}}, "services.digits.canary: the platform toy cannot do this: toys have one"),
        ({**service, "platform": "toi"}, "did you mean 'toy'?"),
    ):
        with pytest.raises(pulumi.RunError) as caught:
            declaring.run({"services": {"digits": wrong}})
        assert said in str(caught.value)


def test_without_its_line_there_is_no_such_platform():
    with pytest.raises(pulumi.RunError, match=r"services\.digits\.toy: no such argument"):
        declaring.run({"services": {"digits": {**SERVICE, "toy": {"colour": "blue"}}}})


def test_what_a_hybrids_platform_refuses_late_has_the_place_in_the_stack_file(asked):
    hosts = [{"name": "a", "address": "unix:///run/a.sock", "ip": "no address"}]
    hybrid = {**SERVICE, **FLEET, **ELSEWHERE, "platform": "docker", "docker": {"hosts": hosts}}
    with pytest.raises(pulumi.RunError, match=r"hybrids\.digits\.docker\.hosts\[0\]\.ip: is 'no address'"):
        declaring.run({"hybrids": {"digits": hybrid}})
    assert len(asked) == 1
