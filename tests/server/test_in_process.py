"""Servers in this process: configuration, refusals, limits."""

import asyncio
import gzip
import json
import socket
import time

import aiohttp
import grpc
import numpy as np
import pytest
import requests
from toolchain.testing import patience

pytestmark = pytest.mark.slow

BODY = '{"instances":[[1,2,3]]}'


async def call(url: str, data: str | bytes, **options) -> tuple[int, dict]:
    async with aiohttp.ClientSession() as session, session.post(url, data=data, **options) as reply:
        return reply.status, json.loads(await reply.text())


async def states(url: str, model: str) -> dict[str, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/models/{model}") as reply:
        return {entry["version"]: entry["state"] for entry in (await reply.json())["model_version_status"]}


def until_status(url: str, status: int) -> None:
    end = patience.Deadline(60)
    while requests.get(url, timeout=10).status_code != status:
        assert not end.over(), "not in time"
        time.sleep(0.05)


def config_file(tmp_path, text: str) -> str:
    path = tmp_path / "models.config"
    path.write_text(f"model_config_list {{ {text} }}")
    return f"--model_config_file={path}"


def test_serving_gives_a_url_that_answers_until_the_block_ends(models):
    from isthmus.server.app import serving

    with serving(models / "m", "digits") as url:
        reply = requests.post(f"{url}/v1/models/digits:predict", data=BODY, timeout=10)
        assert reply.json() == {"predictions": [[22.5, 27.5]]}
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_serving_a_folder_without_a_model_raises(tmp_path):
    from isthmus.server.app import serving
    from isthmus.server.errors import StartError

    (tmp_path / "1").mkdir()
    with pytest.raises(StartError, match="Could not find SavedModel"), serving(tmp_path, "m"):
        pass
    with pytest.raises(StartError, match="is not a folder"), serving(tmp_path / "missing", "m"):
        pass


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", {"2": "AVAILABLE"}),
        ("model_version_policy { all {} }", {"1": "AVAILABLE", "2": "AVAILABLE"}),
        ("model_version_policy { latest { num_versions: 2 } }", {"1": "AVAILABLE", "2": "AVAILABLE"}),
        ("model_version_policy { specific { versions: 1 } }", {"1": "AVAILABLE"}),
    ],
)
async def test_the_policy_says_which_versions_are_served(models, tmp_path, serve_here, policy, expected):
    flag = config_file(tmp_path, f'config {{ name: "m" base_path: "{models}/m" model_platform: "tensorflow" {policy} }}')
    async with serve_here(flag) as url:
        assert await states(url, "m") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('config { name: "m" base_path: "relative" model_platform: "tensorflow" }', "absolute path"),
        ('config { name: "m" base_path: "/m" }', "model_platform"),
        ('config { base_path: "/m" model_platform: "tensorflow" }', "no name"),
        ('config { name: "m" base_path: "/m" model_platform: "tensorflow" } ' * 2, "multiple times"),
        ("nonsense", "Invalid protobuf file"),
    ],
)
async def test_a_wrong_configuration_is_refused(tmp_path, serve_here, text, message):
    from isthmus.server.errors import StartError

    with pytest.raises(StartError, match=message):
        async with serve_here(config_file(tmp_path, text)):
            pass


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "model_base_path is not set"),
        (["--model_base_path=relative"], "absolute path"),
        (["--model_config_file=/no/such/file"], "cannot read /no/such/file"),
        (["--model_base_path=/m", "--monitoring_config_file=/no/such/file"], "cannot read /no/such/file"),
    ],
)
async def test_wrong_flags_are_refused(serve_here, flags, message):
    from isthmus.server.errors import StartError

    with pytest.raises(StartError, match=message):
        async with serve_here(*flags):
            pass


async def test_a_label_on_a_version_that_is_not_there_is_refused_unless_allowed(models, tmp_path, serve_here):
    from isthmus.server.errors import StartError

    labels = 'version_labels { key: "stable" value: 9 }'
    flag = config_file(tmp_path, f'config {{ name: "m" base_path: "{models}/m" model_platform: "tensorflow" {labels} }}')
    with pytest.raises(StartError, match="label to version 9 of model m"):
        async with serve_here(flag):
            pass
    async with serve_here(flag, "--allow_version_labels_for_unavailable_models") as url:
        status, reply = await call(f"{url}/v1/models/m/labels/stable:predict", BODY)
        assert (status, reply["error"]) == (404, "Servable not found for request: Specific(m, 9)")


@pytest.mark.parametrize("flag", ["--port", "--rest_api_port"])
async def test_a_port_in_use_is_refused(models, flag):
    from isthmus.server.app import serve
    from isthmus.server.errors import StartError
    from isthmus.server.flags import parse_flags

    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        options, _ = parse_flags(["--port=0", f"--model_base_path={models}/m", f"{flag}={port}"])
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}"):
            await serve(options, asyncio.Event())


async def test_the_configuration_file_is_read_again(models, tmp_path, serve_here):
    first = f'config {{ name: "m" base_path: "{models}/m" model_platform: "tensorflow" }}'
    flag = config_file(tmp_path, first)
    async with serve_here(flag, "--model_config_file_poll_wait_seconds=1") as url:
        config_file(tmp_path, first + f' config {{ name: "cr" base_path: "{models}/cr" model_platform: "tensorflow" }}')
        await asyncio.to_thread(until_status, f"{url}/v1/models/cr/metadata", 200)
        assert await states(url, "m") == {"2": "AVAILABLE"}


async def test_the_models_can_be_replaced_over_grpc(models, tmp_path, serve_here, free_port):
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    async with (
        serve_here(config_file(tmp_path, ""), f"--port={free_port}", "--enable_reload_config") as url,  # an empty list serves
        grpc.aio.insecure_channel(f"127.0.0.1:{free_port}") as channel,
    ):
        reload = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.config.add(name="m", base_path=f"{models}/m", model_platform="tensorflow")
        await reload(request, timeout=60)
        assert await states(url, "m") == {"2": "AVAILABLE"}
        request.config.model_config_list.config.add(name="m", base_path=f"{models}/m", model_platform="tensorflow")
        with pytest.raises(grpc.RpcError) as caught:
            await reload(request, timeout=60)
        assert "Illegal to list model m multiple times" in caught.value.details()
        assert await states(url, "m") == {"2": "AVAILABLE"}
        request.config.Clear()
        request.config.model_config_list.SetInParent()
        await reload(request, timeout=60)
        await asyncio.to_thread(until_status, f"{url}/v1/models/m/metadata", 404)


async def test_the_models_stay_where_no_flag_lets_clients_replace_them(models, serve_here, free_port):
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    async with (
        serve_here("--model_name=m", f"--model_base_path={models}/m", f"--port={free_port}") as url,
        grpc.aio.insecure_channel(f"127.0.0.1:{free_port}") as channel,
    ):
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.config.add(name="cr", base_path=f"{models}/cr", model_platform="tensorflow")
        with pytest.raises(grpc.RpcError) as caught:
            await model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=60)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "--enable_reload_config" in caught.value.details()
        assert await states(url, "m") == {"2": "AVAILABLE"}


async def test_both_interfaces_answer_on_unix_sockets_of_the_owner_alone(models, tmp_path, serve_here):
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

    rest, rpc = tmp_path / "rest.sock", tmp_path / "grpc.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(rest))  # what a server that was killed leaves behind
    flags = ("--model_name=m", f"--model_base_path={models}/m", f"--rest_api_socket_path={rest}", f"--grpc_socket_path={rpc}")
    async with serve_here(*flags):
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(rest))) as session,
            session.post("http://socket/v1/models/m:predict", data=BODY) as reply,
        ):
            assert await reply.json() == {"predictions": [[22.5, 27.5]]}
        async with grpc.aio.insecure_channel(f"unix:{rpc}") as channel:
            request = get_model_status_pb2.GetModelStatusRequest()
            request.model_spec.name = "m"
            reply = await model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=30)
            assert [status.version for status in reply.model_version_status] == [2]
        assert {path.stat().st_mode & 0o777 for path in (rest, rpc)} == {0o600}
    assert not rest.exists()


@pytest.mark.parametrize("flag", ["--rest_api_socket_path", "--grpc_socket_path"])
@pytest.mark.parametrize("kind", ["listening", "file", "long"])
async def test_a_socket_path_that_cannot_be_had_is_refused(models, tmp_path, serve_here, flag, kind):
    from isthmus.server.errors import StartError

    path = tmp_path / ("x" * 108 if kind == "long" else "taken.sock")
    with socket.socket(socket.AF_UNIX) as holder:
        if kind == "listening":
            holder.bind(str(path))
            holder.listen()
        elif kind == "file":
            path.write_text("mine")
        with pytest.raises(StartError, match="cannot listen on"):
            async with serve_here("--model_name=m", f"--model_base_path={models}/m", f"{flag}={path}"):
                pass
        assert kind == "long" or path.exists()


async def test_a_call_that_takes_too_long_gets_504_and_the_loop_goes_on(models, serve_here):
    async with serve_here("--model_name=slow", f"--model_base_path={models}/slow", "--rest_api_timeout_in_ms=200") as url:
        slow = asyncio.create_task(call(f"{url}/v1/models/slow:predict", '{"inputs": 20000}'))
        await asyncio.sleep(0)
        assert await states(url, "slow") == {"1": "AVAILABLE"}  # answered while the model runs
        assert not slow.done()
        assert await slow == (504, {"error": "Timed out waiting for notification"})


async def test_bodies_may_be_large_or_compressed(models, serve_here):
    async with serve_here("--model_name=m", f"--model_base_path={models}/m") as url:
        rows = np.arange(300_000).reshape(-1, 3).tolist()
        large = json.dumps({"instances": rows}).encode()
        assert len(large) > 1 << 20  # beyond aiohttp's own limit
        for body, headers in ((large, {}), (large, {"Expect": "100-continue"}), (gzip.compress(large), {"Content-Encoding": "gzip"})):
            status, reply = await call(f"{url}/v1/models/m:predict", body, headers=headers)
            assert status == 200
            np.testing.assert_allclose(reply["predictions"], np.array(rows) @ [[1, 2], [3, 4], [5, 6]] + [0.5, -0.5], rtol=1e-6)


async def test_one_connection_serves_many_calls_refused_ones_too(models, serve_here):
    async with serve_here("--model_name=m", f"--model_base_path={models}/m") as url:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:
            for body, expected in [(BODY, 200), ("{", 400), (BODY, 200), ("{}", 400)] * 50:
                async with session.post(f"{url}/v1/models/m:predict", data=body) as reply:
                    assert reply.status == expected
        await connector.close()


async def test_many_callers_at_once_get_their_own_answers(models, serve_here):
    async with serve_here("--model_name=m", f"--model_base_path={models}/m") as url, aiohttp.ClientSession() as session:

        async def one(number: int) -> None:
            rows = 1 if number % 2 else 2000  # small calls run on the loop, large ones on threads
            body = json.dumps({"instances": [[number, 0, 0]] * rows})
            async with session.post(f"{url}/v1/models/m:predict", data=body) as reply:
                assert (await reply.json())["predictions"] == [[number + 0.5, 2 * number - 0.5]] * rows

        await asyncio.gather(*(one(number) for number in range(200)))


async def test_warm_up_requests_are_replayed_when_a_version_is_loaded(make_models, tmp_path, serve_here):
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    from isthmus.server.errors import StartError

    def warmed(value: np.ndarray) -> str:
        request = predict_pb2.PredictRequest()
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(value))
        log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
        directory = tmp_path / "m" / "1"
        make_models.make_dense(directory)
        (directory / "assets.extra").mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(directory / "assets.extra" / "tf_serving_warmup_requests")) as writer:
            writer.write(log.SerializeToString())
        return f"--model_base_path={tmp_path}/m"

    async with serve_here("--model_name=m", warmed(np.zeros((1, 3), np.float32))) as url:
        assert await states(url, "m") == {"1": "AVAILABLE"}
    flag = warmed(np.zeros((1, 7), np.float32))  # one that the model refuses shows that it was replayed
    with pytest.raises(StartError, match="warm-up request 0"):
        async with serve_here("--model_name=m", flag):
            pass
    async with serve_here("--model_name=m", flag, "--enable_model_warmup=false") as url:
        assert await states(url, "m") == {"1": "AVAILABLE"}
