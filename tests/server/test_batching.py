"""Calls that wait together are run together."""

import asyncio

import aiohttp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.slow


class Doubler:
    """Stands for a model: doubles `x`, and notes what it was run with."""

    def __init__(self):
        self.runs: list[np.ndarray] = []

    def run(self, signature_name, inputs, outputs):
        self.runs.append(inputs["x"])
        return {"y": inputs["x"] * 2}


def parameters(**changes):
    from isthmus.server.batching import BatchingParameters

    return BatchingParameters(**{"num_batch_threads": 1, **changes})


def make_batcher(given_parameters):
    from isthmus.server.batching import Batcher
    from isthmus.server.metrics import Metrics

    return Batcher(given_parameters, Metrics())


def rows(*values):
    return {"x": np.array(values, np.float32).reshape(-1, 1)}


async def run_all(model, given_parameters, calls):
    batcher = make_batcher(given_parameters)
    try:
        return await asyncio.gather(*(batcher.run(model, "s", call) for call in calls), return_exceptions=True)
    finally:
        batcher.close()


async def test_calls_wait_for_each_other_until_a_batch_is_full():
    model = Doubler()
    replies = await run_all(model, parameters(max_batch_size=4, batch_timeout_micros=60_000_000), [rows(n) for n in range(8)])
    assert [reply["y"].ravel().tolist() for reply in replies] == [[2 * n] for n in range(8)]
    assert [run.ravel().tolist() for run in model.runs] == [[0, 1, 2, 3], [4, 5, 6, 7]]


async def test_a_batch_that_is_not_full_is_run_when_its_time_is_up():
    model = Doubler()
    (reply,) = await run_all(model, parameters(max_batch_size=100, batch_timeout_micros=1000), [rows(1, 2)])
    assert reply["y"].ravel().tolist() == [2, 4]


async def test_a_call_that_does_not_fit_begins_another_batch():
    model = Doubler()
    calls = [rows(1, 2, 3), rows(4, 5)]
    replies = await run_all(model, parameters(max_batch_size=4, batch_timeout_micros=1000), calls)
    assert [reply["y"].ravel().tolist() for reply in replies] == [[2, 4, 6], [8, 10]]
    assert [len(run) for run in model.runs] == [3, 2]


async def test_a_batch_is_filled_up_to_an_allowed_size():
    model = Doubler()
    (reply,) = await run_all(model, parameters(max_batch_size=8, allowed_batch_sizes=(4, 8)), [rows(1, 2)])
    assert reply["y"].ravel().tolist() == [2, 4]
    assert model.runs[0].ravel().tolist() == [1, 2, 1, 1]


async def test_rows_of_different_lengths_are_padded_with_their_first_value_where_that_is_asked_for():
    calls = [{"x": np.array([[1, 2]], np.float32)}, {"x": np.array([[3, 4, 5]], np.float32)}]
    model = Doubler()
    fill = {"max_batch_size": 2, "batch_timeout_micros": 60_000_000}
    await run_all(model, parameters(pad_variable_length_inputs=True, **fill), calls)
    assert model.runs[0].tolist() == [[1, 2, 1], [3, 4, 5]]
    refused = await run_all(model, parameters(**fill), calls)
    assert {error.code for error in refused} == {"FAILED_PRECONDITION"}


async def test_a_call_that_is_too_large_is_refused_or_split():
    model = Doubler()
    (refused,) = await run_all(model, parameters(max_batch_size=2), [rows(1, 2, 3)])
    assert refused.message == "Task size 3 is larger than maximum input batch size 2"
    split = parameters(max_batch_size=10, enable_large_batch_splitting=True, max_execution_batch_size=2, batch_timeout_micros=1000)
    replies = await run_all(model, split, [rows(1, 2, 3), rows(4, 5)])
    assert [reply["y"].ravel().tolist() for reply in replies] == [[2, 4, 6], [8, 10]]
    assert [run.ravel().tolist() for run in model.runs] == [[1, 2], [3, 4], [5]]


async def test_calls_beyond_the_queue_are_refused():
    replies = await run_all(Doubler(), parameters(max_batch_size=1, max_enqueued_batches=3), [rows(n) for n in range(20)])
    assert {error.code for error in replies if not isinstance(error, dict)} == {"UNAVAILABLE"}
    assert sum(isinstance(reply, dict) for reply in replies) >= 3


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "at least one input"),
        ({"x": np.float32(1).reshape(())}, "at least one dimension"),
        ({"x": np.zeros(2), "w": np.zeros(3)}, "equal 0th-dimension size"),
    ],
)
async def test_what_cannot_be_batched_is_refused(inputs, message):
    (error,) = await run_all(Doubler(), parameters(), [inputs])
    assert message in error.message


async def test_an_error_of_a_run_is_that_of_all_its_calls_and_the_next_run_is_well():
    from isthmus.server.errors import ServingError

    class Broken(Doubler):
        def run(self, signature_name, inputs, outputs):
            if inputs["x"].min() < 0:
                raise ServingError("INVALID_ARGUMENT", "negative")
            return super().run(signature_name, inputs, outputs)

    model, batcher = Broken(), make_batcher(parameters(max_batch_size=2, batch_timeout_micros=60_000_000))
    try:
        failed = await asyncio.gather(*(batcher.run(model, "s", rows(n)) for n in (-1, 1)), return_exceptions=True)
        assert [str(error) for error in failed] == ["negative", "negative"]
        replies = await asyncio.gather(*(batcher.run(model, "s", rows(n)) for n in (2, 3)))
        assert [reply["y"].item() for reply in replies] == [4, 6]
    finally:
        batcher.close()


@given(
    sizes=st.lists(st.integers(0, 7), min_size=1, max_size=12),
    limit=st.integers(1, 9),
    split=st.booleans(),
    threads=st.integers(1, 3),
)
def test_everybody_gets_their_own_rows_and_no_run_is_too_large(sizes, limit, split, threads):
    model = Doubler()
    calls = [rows(*range(index * 10, index * 10 + size)) for index, size in enumerate(sizes)]
    chosen = parameters(max_batch_size=limit, enable_large_batch_splitting=split, num_batch_threads=threads, max_enqueued_batches=1000)
    for call, reply in zip(calls, asyncio.run(run_all(model, chosen, calls)), strict=True):
        if isinstance(reply, Exception):
            assert len(call["x"]) > limit
            assert not split
        else:
            np.testing.assert_array_equal(reply["y"], call["x"] * 2)
    assert all(len(run) <= limit for run in model.runs)


async def test_a_server_batches_calls_of_both_forms(models, tmp_path, serve_here):
    file = tmp_path / "batching.config"
    file.write_text(
        "max_batch_size { value: 4 } batch_timeout_micros { value: 2000 } allowed_batch_sizes: [2, 4] max_enqueued_batches { value: 99 }"
    )
    flags = ("--model_name=m", f"--model_base_path={models}/m", "--enable_batching", f"--batching_parameters_file={file}")
    async with serve_here(*flags) as url, aiohttp.ClientSession() as session:

        async def one(number: int) -> None:
            key = "instances" if number % 2 else "inputs"
            async with session.post(f"{url}/v1/models/m:predict", json={key: [[number, 0, 0]]}) as reply:
                assert await reply.json() == {{"instances": "predictions", "inputs": "outputs"}[key]: [[number + 0.5, 2 * number - 0.5]]}

        await asyncio.gather(*(one(number) for number in range(60)))


async def test_calls_of_classify_and_regress_wait_for_each_other_as_well(models, tmp_path, serve_here):
    """Each batch has room for two calls and no time limit to speak of: none would be run if they were not put together."""
    file, monitoring = tmp_path / "batching.config", tmp_path / "monitoring.config"
    file.write_text("max_batch_size { value: 2 } batch_timeout_micros { value: 600000000 }")
    monitoring.write_text("prometheus_config { enable: true }")
    flags = ("--model_name=cr", f"--model_base_path={models}/cr", "--enable_batching", f"--batching_parameters_file={file}")
    async with serve_here(*flags, f"--monitoring_config_file={monitoring}") as url, aiohttp.ClientSession() as session:

        async def one(method: str, signature: str, x: list[float]) -> list:
            body = {"signature_name": signature, "examples": [{"x": x}]}
            async with session.post(f"{url}/v1/models/cr:{method}", json=body) as reply:
                return (await reply.json())["results"]

        replies = await asyncio.gather(
            one("classify", "", [0.0, 0.0, 0.0]),
            one("regress", "reg", [1.0, 2.0, 3.0]),
            one("classify", "", [0.0, 0.0, 0.0]),
            one("regress", "reg", [0.0, 0.0, 0.0]),
        )
        assert replies == [[[["a", 0.5], ["b", 0.5]]], [22.0], [[["a", 0.5], ["b", 0.5]]], [0.0]]
        async with session.get(f"{url}/monitoring/prometheus/metrics") as reply:
            lines = (await reply.text()).splitlines()
    prefix = ":tensorflow:serving:batching_session:"
    for line in (
        f"# TYPE {prefix}queuing_latency histogram",
        f'{prefix}queuing_latency_count{{thread_pool_name=""}} 4',
        f"# TYPE {prefix}wrapped_run_count counter",
        f"{prefix}wrapped_run_count{{}} 2",
        f'{prefix}input_batch_size_bucket{{le="1"}} 0',
        f'{prefix}input_batch_size_bucket{{le="2"}} 4',
        f"{prefix}processed_batch_size_sum{{}} 4",
        f'{prefix}padding_size_sum{{execution_batch_size="2"}} 0',
    ):
        assert line in lines, line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size is 0; expected at least 1"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [2, 8]", "last entry was 8; expected 4"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [3, 2, 4]", "increasing order"),
        ("nonsense", "Invalid protobuf file"),
        (None, "without enable_batching"),
    ],
)
def test_wrong_parameters_are_refused(tmp_path, text, message):
    from isthmus.server.config import read_batching
    from isthmus.server.errors import StartError
    from isthmus.server.flags import parse_flags

    file = tmp_path / "batching.config"
    file.write_text(text or "")
    enable = [] if text is None else ["--enable_batching"]
    options, _ = parse_flags([f"--batching_parameters_file={file}", *enable])
    with pytest.raises(StartError, match=message):
        read_batching(options)
