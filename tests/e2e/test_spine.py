"""The embedded default from nothing to a prediction, and back to nothing. The tests of this file run in order, on one stack."""

import datetime
import ipaddress
import json
import os
import re
import signal
import socket
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
import requests

from isthmus.release.store import Store, StoreAddress

pytestmark = [pytest.mark.e2e, pytest.mark.in_order, pytest.mark.timeout(600)]  # some make three updates, of TIMEOUT_SECONDS at most

SEVEN = "models/digits/samples/digit-7.npy"
DEVICES = ("camera-1", "camera-2", "camera-3")


@pytest.fixture(scope="module")
def stack(make_project, digits):
    made = make_project()
    made.arguments = digits()
    made.configure(hybrids={"digits": made.arguments})
    made.output_file = made.root / "modules.txt"
    # The program's own process tells which modules it imported.
    program = made.root / "__main__.py"
    tail = f"import atexit, sys\natexit.register(lambda: open({str(made.output_file)!r}, 'w').write('\\n'.join(sys.modules)))\n"
    program.write_text(program.read_text() + tail)
    return made


@pytest.fixture
def seven():
    return np.load(SEVEN)


def predict(endpoint: str, image: np.ndarray) -> tuple[int, str]:
    """The digit, and who answered."""
    batch = image if image.ndim == 4 else image[np.newaxis]
    reply = requests.post(f"{endpoint}/v1/models/digits:predict", json={"instances": batch.tolist()}, timeout=30)
    assert reply.status_code == 200, reply.text
    return int(np.argmax(reply.json()["predictions"][0])), reply.headers.get("X-Isthmus-Answered-By", "")


def test_the_first_preview_shows_accuracy_and_the_numbers_of_the_plan_and_starts_nothing(stack, processes_of):
    done = stack.preview()
    assert done.code == 0, done
    assert re.search(r"release sha256:[0-9a-f]{12}", done.text), done
    assert re.search(r"edge variant \(int8\): accuracy 9[789](\.\d+)? %", done.text), done
    assert re.search(r"M/G/c, scv [\d.]+: λ = 20/s, μ = [\d.]+/s per replica → \d+ replica", done.text), done
    assert re.search(r"digits \(cloud\) +[0-9a-f]{12} +9[789]\.\d\d % .* new\n", done.text), done
    assert re.search(r"digits \(edge\) +[0-9a-f]{12} +9[789]\.\d\d % .* 3 .* new\n", done.text), done
    assert done.text.partition("Diagnostics:")[2].count("digits (cloud)") == 1, done
    assert not processes_of(stack.root)
    assert not (stack.root / ".isthmus").exists()


def test_a_warm_preview_imports_no_tensorflow(stack):
    stack.output_file.unlink()
    done = stack.preview()
    assert done.code == 0, done
    modules = set(stack.output_file.read_text().split())
    assert "isthmus.cloud" in modules
    assert not {name for name in modules if name.split(".")[0] in ("tensorflow", "keras", "ai_edge_litert", "litert_quantizer")}


def test_up_makes_what_the_preview_showed(stack):
    done = stack.up()
    assert done.code == 0, done
    outputs = stack.outputs()
    assert outputs["services"]["digits"]["digest"] == outputs["fleets"]["digits"]["digest"]
    fleet = outputs["fleets"]["digits"]
    assert [(wave["outcome"], wave["confirmed"]) for wave in fleet["waves"]] == [("passed", 1), ("passed", len(DEVICES) - 1)]
    assert "hunter2" not in done.text


def test_the_cloud_role_and_every_device_name_the_right_digit(stack, seven):
    outputs = stack.outputs()
    assert predict(outputs["services"]["digits"]["endpoint"], seven)[0] == 7
    for device in DEVICES:
        assert predict(outputs["fleets"]["digits"]["devices"][device], seven)[0] == 7


def test_the_readmes_client_works_as_written(stack):
    code = re.search(r"```python\n(import json.*?)```", (stack.root / "components/../README.md").resolve().read_text(), re.DOTALL)
    port = stack.arguments["local"]["port"]
    written = code.group(1).replace("localhost:8501", f"localhost:{port}").replace("print(", "answers.append(")
    answers = []
    exec(written, {"answers": answers})  # noqa: S102
    assert int(np.argmax(answers[0][0])) == 7


def test_grpc_answers_at_the_gateway(stack, seven):
    from google.protobuf import text_format  # noqa: F401  (registers what the stubs need)
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

    with grpc.insecure_channel(stack.outputs()["services"]["digits"]["grpc_endpoint"]) as channel:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "digits"
        status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=20)
    assert [it.state for it in status.model_version_status] == [get_model_status_pb2.ModelVersionStatus.AVAILABLE]


def test_isthmus_predict_shows_who_answered_what(stack):
    done = stack.isthmus("predict", "test", "--input", "models/digits/samples/digit-0.png")
    assert done.code == 0, done
    for role in ("cloud", *DEVICES):
        assert re.search(rf"{role} +│ 0 +│", done.text), done


def test_isthmus_status_shows_every_part_healthy(stack):
    done = stack.isthmus("status", "test")
    assert done.code == 0, done
    for part in ("gateway", "replica 0", *DEVICES):
        assert part in done.text
    assert done.text.count("AVAILABLE") == 2 + len(DEVICES) + stack.outputs()["services"]["digits"]["replicas"] - 1


def test_isthmus_batch_scores_a_file_with_all_replicas(stack, tmp_path):
    with np.load("models/digits/evaluation.npz") as data:
        images, labels = data["x"], data["y"]
    np.save(tmp_path / "x.npy", images)
    done = stack.isthmus("batch", "digits", "--stack", "test", "-i", str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy"))
    assert done.code == 0, done
    assert f"{len(images)} rows in" in done.text
    assert (np.load(tmp_path / "y.npy").argmax(axis=1) == labels).mean() > 0.97


def test_everything_listens_on_loopback(stack, processes_of):
    found = 0
    for pid in processes_of(stack.root):
        for connection in psutil.Process(pid).net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                found += 1
                address = ipaddress.ip_address(connection.laddr.ip.removeprefix("::ffff:"))
                assert address.is_loopback, (pid, connection)
    assert found > 5


def test_another_user_of_the_machine_gets_nothing_from_inner_ports_sockets_and_files(stack, processes_of, neighbour):
    outputs = stack.outputs()
    service, pids = outputs["services"]["digits"], processes_of(stack.root)
    devices = [int(url.rsplit(":", 1)[1]) for url in outputs["fleets"]["digits"]["devices"].values()]
    rest, grpc_port = (int(service[key].rsplit(":", 1)[1]) for key in ("endpoint", "grpc_endpoint"))
    s3 = int(store_ports(stack)["s3"])
    listening, sockets = neighbour.ports_of(pids), neighbour.sockets_of(pids)
    assert listening >= {rest, grpc_port, s3, *devices}
    inner = listening - {rest, grpc_port, s3, *devices}
    with neighbour.passable(stack.root):
        assert {"http"} <= set(neighbour.as_nobody(neighbour.said, s3)) & set(neighbour.as_nobody(neighbour.said, rest))  # who does answer
        assert {port: found for port in inner if (found := neighbour.as_nobody(neighbour.said, port))} == {}
        assert len(sockets) >= 6, sockets  # supervisord's, the gateway's two, two of a replica, the store's
        assert neighbour.as_nobody(neighbour.connected, sockets) == []
        assert neighbour.as_nobody(neighbour.readable, str(stack.root / ".isthmus" / "test")) == []
    assert inner  # SeaweedFS's parts speak to each other at ports
    there = own_store(stack).list("cameras/")[0]
    calls = [
        ("GET", "/"),
        ("GET", f"/models/{there}"),
        ("PUT", "/models/new"),
        ("DELETE", f"/models/{there}"),
        ("GET", "/models?list-type=2"),
    ]
    assert set(neighbour.as_nobody(neighbour.statuses, s3, calls).values()) == {403}
    shutdown = [("POST", "/quitquitquit"), ("GET", "/config_dump"), ("GET", "/stats"), ("POST", "/v1/config/reload")]
    assert set(neighbour.as_nobody(neighbour.statuses, rest, shutdown).values()) == {404}
    for port in devices:
        assert set(neighbour.as_nobody(neighbour.statuses, port, shutdown).values()) <= {404, 400, 405}


def test_no_secret_is_in_a_command_line_or_in_the_plain_state(stack, processes_of):
    keys = json.loads(next((stack.root / ".isthmus").rglob("s3.json")).read_text())["identities"][0]["credentials"][0]
    state = json.dumps(stack.state())
    commands = " ".join(processes_of(stack.root).values())
    for secret in keys.values():
        assert secret not in state
        assert secret not in commands
    assert "PRIVATE KEY" not in state


def test_a_second_up_changes_nothing(stack):
    done = stack.up("--expect-no-changes")
    assert done.code == 0, done
    assert "(as deployed)" in done.text, done


def test_the_stack_does_not_refer_to_itself(stack):
    assert "pulumi:pulumi:StackReference" not in {it["type"] for it in stack.state()["deployment"]["resources"]}


def test_isthmus_plan_shows_what_is_deployed_and_what_would_be_if(stack):
    plan = stack.outputs()["services"]["digits"]["plan"]
    done = stack.isthmus("plan", "test", "--what-if", "demand=2x", "--explain")
    assert done.code == 0, done
    assert re.search(rf"digits \(cloud\) .* {plan['replicas']} +\d+% +0\.00 *\n", done.text), done
    assert "what if demand=2x?" in done.text, done
    assert f"{plan['service_rate_per_second']:.4g}/s" in done.text, done


def test_a_preview_shows_what_more_servers_would_cost_than_those_deployed(stack):
    prices = {"as_of": datetime.date(2027, 1, 2), "servers": {"local": 0.02}}
    stack.configure(hybrids={"digits": {**stack.arguments, "min_replicas": 2}}, prices=prices)
    done = stack.preview()
    stack.configure(hybrids={"digits": stack.arguments})
    assert done.code == 0, done
    assert "(prices of 2027-01-02)" in done.text, done
    assert "all: 29.20 USD a month (+29.20 against what is deployed)" in done.text, done


def steps(done) -> dict[str, str]:
    """Resource name → operation, of a preview in JSON."""
    plan = json.loads(done.text[done.text.index("{") :])
    return {step["urn"].rsplit("::", 1)[-1]: step["op"] for step in plan["steps"] if step["op"] not in ("same", "read")}


def test_another_recipe_shows_exactly_what_depends_on_the_release(stack):
    stack.configure(hybrids={"digits": {**stack.arguments, "recipe": "float32"}})
    done = stack.preview("--json")
    assert done.code == 0, done
    changed = set(steps(done))
    assert {"digits-cloud-model", "digits-edge-wave-1", "digits-edge-wave-2"} <= changed
    assert not changed & {"local", "store", "bucket-models", "digits-edge-camera-1", "digits-edge-devices", "digits-edge-repository"}


def test_another_demand_shows_exactly_the_servers(stack):
    rate = float(stack.outputs()["services"]["digits"]["plan"]["service_rate_per_second"])
    stack.configure(hybrids={"digits": {**stack.arguments, "requests_per_second": rate * 1.5}})
    done = stack.preview("--json")
    assert done.code == 0, done
    assert set(steps(done)) - {"digits", "digits-cloud", "test-test", "models-test"} == {"digits-cloud-server", "digits-cloud-gateway"}, (
        done
    )


def pids(stack, program: str) -> list[int]:
    return next(it["outputs"]["pids"] for it in stack.state()["deployment"]["resources"] if it["urn"].endswith(f"::{program}"))


def test_another_policy_restarts_nothing(stack, seven):
    before = pids(stack, "digits-cloud-gateway")
    stack.arguments["balancing"] = "round_robin"
    stack.configure(hybrids={"digits": stack.arguments})
    done = stack.up()
    assert done.code == 0, done
    assert pids(stack, "digits-cloud-gateway") == before
    assert predict(stack.outputs()["services"]["digits"]["endpoint"], seven)[0] == 7


def test_more_demand_makes_more_replicas(stack, seven):
    rate = float(stack.outputs()["services"]["digits"]["plan"]["service_rate_per_second"])
    stack.arguments["requests_per_second"] = rate * 1.2
    stack.arguments["max_replicas"] = 4
    stack.configure(hybrids={"digits": stack.arguments})
    done = stack.up()
    assert done.code == 0, done
    replicas = stack.outputs()["services"]["digits"]["replicas"]
    assert replicas >= 2
    assert len(pids(stack, "digits-cloud-server")) == replicas
    assert predict(stack.outputs()["services"]["digits"]["endpoint"], seven)[0] == 7


def test_a_replica_and_an_agent_removed_by_hand_are_drift_that_up_mends(stack, supervisorctl, seven):
    directory = next((stack.root / ".isthmus").iterdir())
    names = supervisorctl(directory, "status").split()
    server = next(name for name in names if name.startswith("digits-cloud-server"))
    agent = next(name for name in names if name.startswith("digits-edge-camera-2"))
    supervisorctl(directory, "stop", server)
    supervisorctl(directory, "stop", agent)
    refreshed = stack.refresh()
    assert refreshed.code == 0, refreshed
    preview = steps(stack.preview("--json"))
    assert {"digits-cloud-server", "digits-edge-camera-2"} <= set(preview)
    done = stack.up()
    assert done.code == 0, done
    assert "running" in supervisorctl(directory, "status", agent).lower()
    assert predict(stack.outputs()["fleets"]["digits"]["devices"]["camera-2"], seven)[0] == 7
    assert stack.up_without_changes().code == 0


def everything_answers(stack, seven) -> None:
    outputs = stack.outputs()
    assert predict(outputs["services"]["digits"]["endpoint"], seven)[0] == 7
    for device in DEVICES:
        assert predict(outputs["fleets"]["digits"]["devices"][device], seven)[0] == 7
    assert stack.refresh().code == 0  # a supervisor that was made anew has started its processes anew
    done = stack.up_without_changes()
    assert done.code == 0, done


# Of each kind one that keeps its folder, port, key or name when it is made anew.
REPLACED = (
    "digits-cloud-gateway",
    "digits-cloud-server",
    "digits-cloud-model",
    "digits-edge-repository",
    "digits-edge-devices",
    "digits-edge-wave-1",
    "bucket-models",
    "store",
)


def test_what_is_replaced_in_place_is_there_afterwards(stack, seven):
    """The engine makes the new one first, and then deletes the old one, by its state."""
    urns = {resource["urn"].rpartition("::")[2]: resource["urn"] for resource in stack.state()["deployment"]["resources"]}
    before = pids(stack, "digits-cloud-gateway")
    done = stack.up(*(word for name in REPLACED for word in ("--replace", urns[name])))
    assert done.code == 0, done
    assert len(re.findall("replaced", done.text)) >= len(REPLACED), done
    assert pids(stack, "digits-cloud-gateway") != before
    everything_answers(stack, seven)
    done = stack.up("--replace", urns["local"])
    assert done.code == 0, done
    everything_answers(stack, seven)


def test_what_hangs_is_drift_that_up_mends(stack, seven):
    stopped = ("digits-cloud-gateway", "digits-cloud-server", "digits-edge-camera-1", "store")
    for program in stopped:
        os.kill(pids(stack, program)[0], signal.SIGSTOP)
    refreshed = stack.refresh()
    assert refreshed.code == 0, refreshed
    assert not [program for program in stopped if f"{program} update" not in refreshed.text], refreshed
    done = stack.up()
    assert done.code == 0, done
    everything_answers(stack, seven)
    os.kill(pids(stack, "digits-cloud-gateway")[0], signal.SIGSTOP)
    done = stack.up()  # without a refresh
    assert done.code == 0, done
    everything_answers(stack, seven)


def test_an_unsure_device_asks_the_cloud_and_stays_local_when_it_is_away(stack, supervisorctl, eventually):
    endpoint = stack.outputs()["fleets"]["digits"]["devices"]["camera-1"]
    unsure = np.full((8, 8, 1), 0.5, np.float32)
    confidence = requests.post(f"{endpoint}/v1/models/digits:predict", json={"instances": [unsure.tolist()]}, timeout=30)
    assert confidence.headers["X-Isthmus-Answered-By"] in ("device", "cloud")
    stack.arguments["min_confidence"] = 1.0
    stack.configure(hybrids={"digits": stack.arguments})
    assert stack.up().code == 0
    endpoint = stack.outputs()["fleets"]["digits"]["devices"]["camera-1"]
    eventually(lambda: predict(endpoint, unsure)[1] == "cloud")
    directory = next((stack.root / ".isthmus").iterdir())
    gateway = next(name for name in supervisorctl(directory, "status").split() if name.startswith("digits-cloud-gateway"))
    supervisorctl(directory, "stop", gateway)
    assert predict(endpoint, unsure)[1] == "device"
    assert stack.refresh().code == 0
    assert stack.up().code == 0
    eventually(lambda: predict(endpoint, unsure)[1] == "cloud")


def store_ports(stack) -> dict[str, float]:
    """The ports of the stack's own store, by part."""
    found: dict[str, float] = next(
        it["outputs"]["endpoints"][0] for it in stack.state()["deployment"]["resources"] if it["urn"].endswith("::store")
    )
    return found


def own_store(stack) -> Store:
    """The bucket of the stack's own store."""
    keys = json.loads(next((stack.root / ".isthmus").rglob("s3.json")).read_text())["identities"][0]["credentials"][0]
    return Store(
        StoreAddress(f"http://127.0.0.1:{int(store_ports(stack)['s3'])}", "us-east-1", keys["accessKey"], keys["secretKey"]), "models"
    )


def test_a_release_that_fails_its_probation_is_taken_back_in_the_canary_wave(stack, seven):
    before = stack.outputs()["fleets"]["digits"]
    strict = {**stack.arguments, "recipe": "float32", "probation": {"seconds": 1, "max_memory_megabytes": 1}}
    stack.configure(hybrids={"digits": strict})
    done = stack.up()
    assert done.code != 0, done
    assert re.search(r"is aborted in wave canary: 1 of 1 devices failed", done.text), done
    assert re.search(r"(unfit|rolled back), [^\n]*: camera-\d", done.text), done
    assert "wave rest is open" not in done.text, done
    assert "Traceback" not in done.text
    for device in DEVICES:
        assert predict(before["devices"][device], seven)[0] == 7
        health = requests.get(f"{before['devices'][device]}/healthz", timeout=10).json()
        assert health["digest"] == before["digest"]
    shown = stack.isthmus("fleet", "status", "--stack", "test")
    assert "cameras" in shown.text, shown
    assert "1 % of requests, 24 a day at most, of each device; to x25519:" in " ".join(shown.text.split()), shown
    assert stack.refresh().code == 0
    stack.configure(hybrids={"digits": {**stack.arguments, "recipe": "float32"}})
    done = stack.up()
    assert done.code == 0, done
    after = stack.outputs()["fleets"]["digits"]
    assert after["confirmed"] == len(DEVICES)
    assert after["digest"] != before["digest"]


def test_destroy_leaves_nothing_but_cache_and_state(stack, processes_of):
    outputs = stack.outputs()
    ports = [int(url.rsplit(":", 1)[1]) for url in outputs["fleets"]["digits"]["devices"].values()]
    ports += [int(outputs["services"]["digits"][key].rsplit(":", 1)[1]) for key in ("endpoint", "grpc_endpoint")]
    # SeaweedFS puts sockets there, named by port.
    named = {f"seaweedfs-{part.replace('_', '-')}-{int(port)}.sock" for part, port in store_ports(stack).items()}
    sockets = [path for path in Path("/tmp").glob("seaweedfs-*.sock") if path.name in named]  # noqa: S108
    assert sockets
    assert processes_of(stack.root)
    done = stack.destroy()
    assert done.code == 0, done
    assert not processes_of(stack.root)
    assert not list((stack.root / ".isthmus").rglob("*"))
    assert not [path for path in sockets if path.exists()]
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    assert not stack.state()["deployment"].get("resources")
