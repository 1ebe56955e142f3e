import base64
import dataclasses
import json
import re

import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus import gateway
from isthmus.names import dns_label
from isthmus.platforms.kubernetes.objects import (
    Pool,
    Resources,
    Track,
    envoy,
    objects,
    outline,
    problems,
    server_resources,
    servers_name,
    traffic_name,
)
from isthmus.platforms.kubernetes.objects.resources import mebibytes, millis

SCHEMAS = "1.37"
# The Prometheus operator's own kinds, which Kubernetes' schemas do not have.
FOREIGN = {"PodMonitor", "PrometheusRule"}
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def of_kind(made, kind):
    return {key: it for key, it in made.items() if it["kind"] == kind}


def pod_of(made, key):
    return made[key]["spec"]["template"]["spec"]


def pods(made):
    return [it["spec"]["template"]["spec"] for it in of_kind(made, "Deployment").values()]


def matches(labels, selector):
    return all(labels.get(key) == value for key, value in selector.items())


# What the cluster's schemas say


def test_every_object_is_valid_in_kubernetes_own_schemas(configured):
    checked = 0
    for it in objects(configured).values():
        if it["kind"] not in FOREIGN:
            kubernetes_validate.validate(it, SCHEMAS, strict=True)
            checked += 1
    assert checked >= 17


def test_a_misspelt_field_would_be_found(make):
    broken = objects(make())["server-stable"]
    pod_of({"server": broken}, "server")["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, SCHEMAS, strict=True)


def test_no_object_is_larger_than_etcd_takes(configured):
    assert max(len(json.dumps(it)) for it in objects(configured).values()) < 500_000


# Names, labels, and what they do not depend on


def test_objects_of_one_kind_have_different_names(configured):
    made = objects(configured).values()
    assert len({(it["kind"], it["metadata"]["name"]) for it in made}) == len(made)


def test_names_are_dns_labels_and_everything_is_in_the_namespace(configured):
    for it in objects(configured).values():
        assert DNS_LABEL.fullmatch(it["metadata"]["name"])
        assert it["metadata"].get("namespace", configured.namespace) == configured.namespace


@given(st.text(min_size=1, max_size=100), st.text(min_size=1, max_size=100))
def test_names_are_dns_labels_and_stay_different(one, other):
    assert DNS_LABEL.fullmatch(dns_label(one))
    assert (dns_label(one) == dns_label(other)) == (one == other)


@given(st.from_regex(DNS_LABEL, fullmatch=True))
def test_a_good_name_is_kept(name):
    assert dns_label(name) == name


def test_metadata_are_known_before_releases_plans_and_secrets(configured, release):
    unknown = tuple(
        Track(track.name, tuple(Pool(pool.name, node_selector=pool.node_selector) for pool in track.pools)) for track in configured.tracks
    )
    known = {key: {part: it[part] for part in ("apiVersion", "kind", "metadata")} for key, it in objects(configured).items()}
    nothing = dataclasses.replace(configured.store, endpoint="", access_key="", secret_key="")
    assert outline(dataclasses.replace(configured, tracks=unknown, store=nothing)) == known
    assert list(outline(configured)) == list(known)


def test_without_a_release_there_are_no_objects(make):
    with pytest.raises(ValueError, match="no release"):
        objects(make(tracks=(Track("stable"),)))


def test_selectors_pick_their_own_pods_and_no_others(configured):
    deployments = of_kind(objects(configured), "Deployment").values()
    for chosen in deployments:
        picked = [
            it["metadata"]["name"]
            for it in deployments
            if matches(it["spec"]["template"]["metadata"]["labels"], chosen["spec"]["selector"]["matchLabels"])
        ]
        assert picked == [chosen["metadata"]["name"]]


@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget"])
def test_services_and_budgets_pick_one_deployments_pods(configured, kind):
    made = objects(configured)
    deployments = of_kind(made, "Deployment").values()
    for it in of_kind(made, kind).values():
        chosen = it["spec"]["selector"] if kind == "Service" else it["spec"]["selector"]["matchLabels"]
        assert sum(matches(found["spec"]["template"]["metadata"]["labels"], chosen) for found in deployments) == 1
    assert len(of_kind(made, kind)) == len(deployments)


# Releases


def test_another_release_rolls_the_servers_of_its_track_alone(configurations, release):
    before = configurations["canary"]
    stable, canary = before.tracks
    after = dataclasses.replace(before, tracks=(stable, dataclasses.replace(canary, serves=release(3))))
    changed = {key for key, it in objects(after).items() if it != objects(before)[key]}
    # What a running gateway takes up may change with it; its Pods stay.
    assert {"server-canary"} <= changed <= {"server-canary", "gateway-config", "gateway-secret"}


def test_the_pod_template_names_the_release_and_brings_all_that_fetches_it(make):
    template = objects(make())["server-stable"]["spec"]["template"]
    served = make().tracks[0].serves
    assert template["metadata"]["annotations"]["isthmus.dev/release"] == served.digest
    (fetching,) = template["spec"]["initContainers"]
    assert fetching["command"] == ["/bin/sh", "-c", served.fetch.script()]
    given_to_it = {it["name"]: it.get("value") or it["valueFrom"]["secretKeyRef"]["key"] for it in fetching["env"]}
    assert given_to_it["TARGET"] == "/models/digits"
    assert given_to_it["RELEASE_URL"].startswith("http://10.1.2.3:8333/models/team/releases/")
    assert given_to_it["S3_SECRET_KEY"] == "secret_key"


def test_the_server_can_read_the_model_and_not_write_it(make):
    pod = pod_of(objects(make()), "server-stable")
    (fetching,), (server,) = pod["initContainers"], pod["containers"]
    (written,) = fetching["volumeMounts"]
    (read,) = [it for it in server["volumeMounts"] if it["name"] == written["name"]]
    assert read == {**written, "readOnly": True}
    assert read["mountPath"] == "/models/digits"
    assert next(it for it in pod["volumes"] if it["name"] == written["name"])["emptyDir"]["sizeLimit"] == "17Mi"


def test_ready_means_that_the_pinned_version_is_available(configurations):
    for track, version in (("stable", 1), ("canary", 2)):
        (server,) = pod_of(objects(configurations["canary"]), f"server-{track}")["containers"]
        for probe in ("startupProbe", "readinessProbe"):
            assert server[probe]["httpGet"]["path"] == f"/v1/models/digits/versions/{version}/metadata"
        assert "httpGet" not in server["livenessProbe"]  # a server that loads is not killed for it


def test_a_server_gets_the_time_to_load_that_was_asked_for(make):
    (server,) = pod_of(objects(make(load_seconds=901)), "server-stable")["containers"]
    assert server["startupProbe"]["failureThreshold"] * server["startupProbe"]["periodSeconds"] >= 901


# How many there are


def test_the_autoscaler_owns_the_replicas(make):
    made = objects(make())
    assert "replicas" not in made["server-stable"]["spec"]
    scaler = made["autoscaler-stable"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 8)
    assert scaler["scaleTargetRef"]["name"] == made["server-stable"]["metadata"]["name"]
    assert scaler["metrics"][0]["resource"]["target"]["averageUtilization"] == 55
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_without_an_autoscaler_there_are_as_many_as_planned(make):
    made = objects(make(autoscale=False))
    assert made["server-stable"]["spec"]["replicas"] == 3
    assert not of_kind(made, "HorizontalPodAutoscaler")


def test_every_pool_has_its_own_servers_name_and_nodes(configurations):
    service = configurations["pools"]
    made = objects(service)
    assert made["server-stable-fast"]["spec"]["template"]["spec"]["nodeSelector"] == {"node.kubernetes.io/instance-type": "c7.large"}
    assert "nodeSelector" not in pod_of(made, "server-stable-slow")
    (track,) = service.tracks
    listed = [(server.host, server.weight) for server in envoy(service).tracks[0].servers]
    assert listed == [
        (f"{servers_name(service, track, pool)}.serving.svc.cluster.local", weight)
        for pool, weight in zip(track.pools, (1, 3), strict=True)
    ]
    assert {server.split(".")[0] for server, _ in listed} == {
        made[f"servers-stable-{name}"]["metadata"]["name"] for name in ("slow", "fast")
    }


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_drain_takes_one_pod_at_a_time_and_is_never_held_up_for_ever(make, replicas):
    budgets = of_kind(
        objects(make(tracks=(dataclasses.replace(make().tracks[0], pools=(Pool(planned_replicas=replicas),)),))), "PodDisruptionBudget"
    )
    for budget in budgets.values():
        assert budget["spec"]["maxUnavailable"] == 1
        assert "minAvailable" not in budget["spec"]


def test_an_update_adds_before_it_takes(configured):
    for it in of_kind(objects(configured), "Deployment").values():
        assert it["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


# Safety


def test_nothing_in_a_pod_is_root_or_writable_or_has_a_token(configured):
    for pod in pods(objects(configured)):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"]
            assert not own["allowPrivilegeEscalation"]
            assert own["capabilities"] == {"drop": ["ALL"]}


def test_memory_is_limited_and_cpu_is_not(configured):
    for pod in pods(objects(configured)):
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            resources = container["resources"]
            assert resources["limits"]["memory"] == resources["requests"]["memory"]
            assert "cpu" in resources["requests"]
            assert "cpu" not in resources["limits"]


def test_secrets_are_in_secrets_alone(configurations):
    service = configurations["everything"]
    made = objects(service)
    keys = (service.store.access_key, service.store.secret_key, service.gateway.tls_key, *service.gateway.options.api_keys.values())
    rest = json.dumps([it for it in made.values() if it["kind"] != "Secret"])
    held = "".join(base64.b64decode(text).decode() for it in of_kind(made, "Secret").values() for text in it["data"].values())
    for secret in keys:
        assert secret in held
        assert json.dumps(secret)[1:-1] not in rest
        assert base64.b64encode(secret.encode()).decode() not in rest
        assert repr(secret)[1:-1] not in repr(service)


def test_a_namespace_of_our_own_admits_restricted_pods_alone(configurations, make):
    labels = objects(configurations["everything"])["namespace"]["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}
    assert "namespace" not in objects(make())


# The network


def test_nobody_may_talk_but_as_the_policies_say(configured):
    made = objects(configured)
    deny = made["default-deny"]["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(deny)
    for it in of_kind(made, "Deployment").values():
        assert matches(it["spec"]["template"]["metadata"]["labels"], deny["podSelector"]["matchLabels"])


def test_servers_are_reached_through_the_gateway(make):
    made = objects(make())
    gateways, monitoring = made["servers-policy"]["spec"]["ingress"]
    (peer,) = gateways["from"]
    assert matches(made["gateway"]["spec"]["template"]["metadata"]["labels"], peer["podSelector"]["matchLabels"])
    assert not matches(made["server-stable"]["spec"]["template"]["metadata"]["labels"], peer["podSelector"]["matchLabels"])
    assert monitoring["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


@pytest.mark.parametrize(
    ("endpoint", "cidrs", "peers", "ports"),
    [
        ("http://10.1.2.3:8333", (), [{"ipBlock": {"cidr": "10.1.2.3/32"}}], [8333]),
        ("https://[fd00::7]", (), [{"ipBlock": {"cidr": "fd00::7/128"}}], [443]),
        ("http://s3.test", ("192.0.2.0/24",), [{"ipBlock": {"cidr": "192.0.2.0/24"}}], [80]),
        (
            "http://seaweedfs.storage.svc:9000",
            (),
            [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}}}],
            None,
        ),
        (
            "https://s3.test",
            (),
            [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}, {"ipBlock": {"cidr": "::/0"}}],
            [443],
        ),
    ],
)
def test_servers_may_go_to_the_store_and_the_name_service_alone(make, endpoint, cidrs, peers, ports):
    store, names = objects(make(store=dataclasses.replace(make().store, endpoint=endpoint, cidrs=cidrs)))["servers-policy"]["spec"][
        "egress"
    ]
    assert store["to"] == peers
    assert ([it["port"] for it in store["ports"]] if "ports" in store else None) == ports
    assert {it["port"] for it in names["ports"]} == {53}


def test_clients_can_be_limited(configurations, make):
    assert "from" not in objects(make())["gateway-policy"]["spec"]["ingress"][0]
    limited = objects(configurations["everything"])["gateway-policy"]["spec"]["ingress"][0]["from"]
    assert limited == [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}]


# The gateway


def test_the_gateway_finds_every_file_where_its_configuration_says(configured):
    made = objects(configured)
    pod = pod_of(made, "gateway")
    (container,) = pod["containers"]
    mounts = {it["name"]: it["mountPath"] for it in container["volumeMounts"]}
    files = {}
    for volume in pod["volumes"]:
        for source in volume.get("projected", {}).get("sources", [volume]):
            items = source.get("configMap", source.get("secret", {})).get("items")
            for item in items or []:
                files[f"{mounts[volume['name']]}/{item['path']}"] = (source, item["key"])
    configuration = envoy(configured)
    expected = [f"/etc/envoy/live/{name}" for name in gateway.live_files(configuration)]
    assert sorted(files) == sorted([*expected, "/etc/envoy/static/envoy.json"])
    for source, key in files.values():
        kind, name = ("Secret", source["secret"]["name"]) if "secret" in source else ("ConfigMap", source["configMap"]["name"])
        (held,) = [it for it in made.values() if it["kind"] == kind and it["metadata"]["name"] == name]
        assert key in held["data"]
    assert mounts["traffic"] == configuration.traffic_directory
    assert next(it for it in pod["volumes"] if it["name"] == "traffic")["configMap"]["name"] == traffic_name(configured)
    assert "/etc/envoy/static/envoy.json" in container["args"]


def test_the_ports_of_the_gateway_are_those_that_its_configuration_listens_on(make):
    service = make()
    configuration = envoy(service)
    (container,) = pod_of(objects(service), "gateway")["containers"]
    ports = {it["name"]: it["containerPort"] for it in container["ports"]}
    assert ports == {"rest": configuration.rest_port, "grpc": configuration.grpc_port, "status": configuration.status_port}
    assert configuration.admin_address == "127.0.0.1"


def test_new_keys_reach_running_gateways_and_another_bootstrap_starts_new_ones(make):
    plain = make()

    def template(**options):
        changed = dataclasses.replace(plain.gateway, options=gateway.GatewayOptions(**options))
        return objects(dataclasses.replace(plain, gateway=changed))["gateway"]["spec"]["template"]

    assert template(api_keys={"shop": "gateway-key-of-the-shop"}) == template()
    assert template(max_connections=5) != template()


@pytest.mark.parametrize(("given", "seconds"), [(None, gateway.leave_seconds(gateway.GatewayOptions())), (2, 2)])
def test_a_gateway_that_leaves_serves_until_nobody_asks_it_any_more_or_as_long_as_it_is_told(make, given, seconds):
    plain = make()
    pod = pod_of(objects(dataclasses.replace(plain, gateway=dataclasses.replace(plain.gateway, leave_seconds=given))), "gateway")
    (container,) = pod["containers"]
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] == seconds
    assert pod["terminationGracePeriodSeconds"] > seconds


def test_the_service_offers_what_was_asked_for(configurations, make):
    offered = objects(configurations["everything"])["service"]
    assert offered["spec"]["type"] == "LoadBalancer"
    assert offered["metadata"]["annotations"] == {"cloud.test/internal": "true"}
    assert [(it["name"], it["port"], it.get("nodePort"), it["appProtocol"]) for it in offered["spec"]["ports"]] == [
        ("rest", 8501, 30123, "https"),
        ("grpc", 8500, None, "https"),
    ]
    assert objects(make())["service"]["spec"]["ports"][1]["appProtocol"] == "kubernetes.io/h2c"


# Sizes, and what is refused


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (mebibytes(512), "512Mi"),
        (mebibytes(3072), "3Gi"),
        (mebibytes(1536), "1536Mi"),
        (millis(250), "250m"),
        (millis(2000), "2"),
        (millis(1500), "1500m"),
    ],
)
def test_sizes_are_written_as_kubernetes_gives_them_back(written, expected):
    assert written == expected


@given(st.integers(0, 10**11))
def test_a_larger_model_gets_no_less_memory(size):
    smaller, larger = server_resources(size), server_resources(size + 10**6)
    assert smaller.memory_mib * 2**20 >= 2 * size
    assert larger.memory_mib >= smaller.memory_mib
    assert server_resources(size, cpu_millis=1500, memory_mib=300) == Resources(1500, 300)


def test_a_good_service_has_no_problems(configured):
    assert problems(configured, "services.digits") == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"model_volume_mib": 5}, "services.digits.kubernetes.model_size_limit_mib"),
        ({"tracks": "scaled to zero"}, "services.digits.min_replicas"),
        ({"tracks": "many files"}, "services.digits.model"),
    ],
)
def test_what_could_never_run_is_refused_by_name(make, release, changes, path):
    tracks = {
        "scaled to zero": (Track("stable", (Pool(min_replicas=0),), release(1)),),
        "many files": (Track("stable", (Pool(),), release(1, files=2000)),),
    }
    service = make(**{key: tracks.get(value, value) for key, value in changes.items()})
    (problem,) = problems(service, "services.digits")
    assert problem.path == path
    assert problem.fix
