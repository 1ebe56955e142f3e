"""Batch jobs over small servers of our own on loopback, each as slow as it is told to be and able to fail; and over real ones."""

import json
import re
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from benchmarks.throttle import in_turn
from tests.cli.batch_scorer import COLUMNS, ONE, TWO, Scorer, expected, serving, tensor
from toolchain.testing import patience
from typer.testing import CliRunner

from isthmus.cli.commands.batch import job as batch_run
from isthmus.cli.commands.batch import scoring as batching
from isthmus.cli.commands.batch.files import Answers, open_examples, open_partial
from isthmus.cli.commands.batch.job import Job, Meter
from isthmus.cli.main import app
from isthmus.errors import InputError, IsthmusError, PlatformError
from isthmus.observing import reach
from isthmus.observing.reach import Client, Direct, Reply, Server
from isthmus.observing.stack_state import StackState
from isthmus.platforms.kubernetes import observe as on_kubernetes
from isthmus.platforms.local import observe as on_local
from isthmus.provider.local.ports import choose

DATA = Path(__file__).parents[2] / "server" / "data"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(batch_run, "_RETRY_PAUSES_SECONDS", (0.01, 0.02, 0.05))


@pytest.fixture
def scorers() -> Callable[..., list[Scorer]]:
    with ExitStack() as stack:
        yield lambda *wanted: [stack.enter_context(serving(scorer)) for scorer in wanted]


def run(*words: object):
    """The command's result; an error of ours is its text."""
    done = CliRunner().invoke(app, ["batch", *map(str, words)])
    if done.exception and not isinstance(done.exception, IsthmusError | SystemExit):
        raise done.exception
    return done.exit_code, f"{done.output}{done.exception or ''}"


def addresses(scorers, speeds=None):
    return [word for i, it in enumerate(scorers) for word in ("--servers", f"{it.url}={speeds[i]}" if speeds else it.url)]


def test_the_rows_are_split_in_proportion_to_the_declared_speeds_and_answers_are_in_their_places(scorers, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_run, "_WORTH_SECONDS", 1e9)  # nobody's part is corrected
    file, x = examples(7000)
    found = scorers(Scorer(), Scorer(), Scorer())
    code, text = run("m", "-i", file, "-o", tmp_path / "y.npy", *addresses(found, [4, 2, 1]), "--capacities", "declared")
    assert code == 0, text
    y = np.load(tmp_path / "y.npy")
    assert y.dtype == np.float32
    assert (y == expected(x)).all()
    assert [scorer.rows for scorer in found] == [4000, 2000, 1000]
    assert not (tmp_path / "y.npy.partial").exists()


def test_servers_of_unequal_speed_are_measured_and_get_parts_by_their_rates(scorers, examples, tmp_path):
    file, x = examples(1200)
    found = scorers(Scorer(0.001), Scorer(0.005))
    code, text = run("m", "-i", file, "-o", tmp_path / "y.npy", *addresses(found), "--measure-seconds", "0.3", "--chunk-rows", "20")
    assert code == 0, text
    assert (np.load(tmp_path / "y.npy") == expected(x)).all()
    assert sum(scorer.rows for scorer in found) == len(x)
    assert found[0].rows > 1.5 * found[1].rows, text
    assert "measured capacities" in text
    assert "real makespan over predicted" in text


@pytest.mark.parametrize("corrects", [True, False])
def test_a_server_that_is_done_early_gets_rows_of_the_others(scorers, examples, tmp_path, monkeypatch, corrects):
    monkeypatch.setattr(batch_run, "_WORTH_SECONDS", 0.05)
    file, x = examples(1000)
    found = scorers(Scorer(), Scorer(0.003))
    rows = open_examples(file, ONE, tmp_path)
    answers = Answers(tmp_path / "y.npy", tmp_path, rows, ONE, "", resume=False)
    servers = [Server(f"s{i}", Direct(it.url)) for i, it in enumerate(found)]
    job = Job("v1/models/m", servers, rows, answers, rates={"s0": 500, "s1": 500}, chunk_rows=10, corrects=corrects)
    done = job.run()
    assert sum(scorer.rows for scorer in found) == len(x)
    assert [plan.is_correction for plan in done.plans[:2]] == [False, True][: 1 + corrects]
    assert (found[1].rows < 500) == corrects


@pytest.mark.parametrize("status", [503, 0])
@pytest.mark.parametrize("capacities", ["declared", "measured"])
def test_what_a_lost_server_had_not_done_is_done_by_the_others_once(scorers, examples, tmp_path, status, capacities):
    file, x = examples(3000)
    found = scorers(Scorer(0.0001, fail_after=300, fail_status=status), Scorer(0.0001), Scorer(0.0001))
    more = ("--capacities", capacities, "--measure-seconds", "0.1", "--chunk-rows", "50")
    code, text = run("m", "-i", file, "-o", tmp_path / "y.npy", *addresses(found), *more)
    assert code == 0, text
    assert (np.load(tmp_path / "y.npy") == expected(x)).all()
    assert 300 <= found[0].rows < 1000
    assert sum(scorer.rows for scorer in found) == len(x), "a row was scored twice, or never"
    assert "was lost" in text


def test_a_server_that_hangs_is_not_waited_for_again_and_again(scorers, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(reach, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(batch_run, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(batch_run, "_RETRY_PAUSES_SECONDS", (600,))
    file, x = examples(1000)
    found = scorers(Scorer(fail_after=100, fail_status=-1), Scorer())
    code, text = run("m", "-i", file, "-o", tmp_path / "y.npy", *addresses(found), "--capacities", "declared", "--chunk-rows", "50")
    assert code == 0, text
    assert (np.load(tmp_path / "y.npy") == expected(x)).all()
    assert "was lost" in text
    assert "timed out" in text


def test_with_every_server_lost_the_rest_is_done_later(scorers, examples, tmp_path):
    file, x = examples(1000)
    (broken,) = scorers(Scorer(fail_after=400))
    words = ["m", "-i", file, "-o", tmp_path / "y.npy", "--chunk-rows", "50"]
    code, text = run(*words, *addresses([broken]))
    assert code == 1
    assert "all servers are lost" in text
    assert f"{broken.rows} of 1000 rows are done and kept" in text
    assert not (tmp_path / "y.npy").exists()
    (whole,) = scorers(Scorer())
    code, text = run(*words, *addresses([whole]), "--resume")
    assert code == 0, text
    assert broken.rows + whole.rows == len(x)
    assert (np.load(tmp_path / "y.npy") == expected(x)).all()


def test_without_resume_a_job_begins_anew_and_a_changed_input_cannot_be_resumed(scorers, examples, tmp_path):
    file, _ = examples(1000)
    (scorer,) = scorers(Scorer(fail_after=400))
    words = ["m", "-i", file, "-o", tmp_path / "y.npy", "--chunk-rows", "50", *addresses([scorer])]
    assert run(*words)[0] == 1
    scorer.fail_after = None
    file, x = examples(900)
    code, text = run(*words, "--resume")
    assert code == 1
    assert "the input changed since the job was begun" in text
    scorer.rows = 0
    assert run(*words)[0] == 0
    assert scorer.rows == 900
    assert (np.load(tmp_path / "y.npy") == expected(x)).all()
    assert "holds nothing to go on from" in run(*words, "--resume")[1]


def test_a_server_that_stumbles_is_asked_again(scorers, examples, tmp_path):
    file, x = examples(200)
    (scorer,) = scorers(Scorer(fail_after=50, times_failing=2))
    code, text = run("m", "-i", file, "-o", tmp_path / "y.npy", "--chunk-rows", "20", *addresses([scorer]))
    assert code == 0, text
    assert scorer.rows == len(x)
    assert "lost" not in text


def test_rows_that_a_server_refuses_end_the_job_and_are_named(scorers, examples, tmp_path):
    file, _ = examples(200)
    (scorer,) = scorers(Scorer(fail_after=0, fail_status=400))
    code, text = run("m", "-i", file, "-o", tmp_path / "y.npy", *addresses([scorer]))
    assert code == 1
    assert re.search(r"refuses rows (\d) to \1: 400: out of order", text), text
    assert "--resume" not in text, "nothing was done"


def test_several_inputs_and_outputs_come_and_go_in_npz_files(scorers, tmp_path):
    x, k = np.random.default_rng(1).normal(size=(500, COLUMNS)).astype(np.float32), np.arange(500)
    np.savez_compressed(tmp_path / "in.npz", x=x, k=k)
    found = scorers(Scorer(signature=TWO), Scorer(signature=TWO))
    code, text = run("m", "-i", tmp_path / "in.npz", "-o", tmp_path / "out.npz", *addresses(found), "--chunk-rows", "30")
    assert code == 0, text
    with np.load(tmp_path / "out.npz") as out:
        assert (out["k2"] == 2 * k).all()
        assert out["k2"].dtype == np.int64
        assert np.allclose(out["y"], expected(x))


def test_whole_numbers_are_given_as_the_model_takes_them(scorers, examples, tmp_path):
    file, x = examples(100, "uint16")
    assert run("m", "-i", file, "-o", tmp_path / "y.npy", *addresses(scorers(Scorer())))[0] == 0
    assert (np.load(tmp_path / "y.npy") == expected(x.astype(np.float32))).all()


def test_a_server_that_is_not_there_is_left_out_and_without_any_the_job_is_refused(scorers, examples, tmp_path):
    file, x = examples(100)
    words = ["m", "-i", file, "-o", tmp_path / "y.npy", "--servers", "http://127.0.0.1:1"]
    code, text = run(*words)
    assert code == 1
    assert "no server is ready" in text
    code, text = run(*words, *addresses(scorers(Scorer())))
    assert code == 0
    assert "127.0.0.1:1 is left out" in text
    assert (np.load(tmp_path / "y.npy") == expected(x)).all()


def test_everything_wrong_with_the_command_is_said_at_once(tmp_path):
    words = ["--servers", "http://a=0", "--servers", "ftp://b", "--capacities", "guessed"]
    code, text = run("m", "-i", tmp_path / "none.csv", "-o", tmp_path / "no" / "y.npy", *words)
    assert code == 1
    parts = (
        "'none.csv' is of no known format",
        "there is no file",
        "there is no folder",
        "'guessed'",
        "--servers[0]: a speed of 0",
        "'ftp://b'",
    )
    assert not [part for part in parts if part not in text]


def test_a_job_holds_a_few_chunks_in_memory_not_its_files(tmp_path):
    class Zeros:
        note = ""

        def call(self, path, body=None):
            return Reply(200, {}, json.dumps({"outputs": [[0, 0]] * len(body["inputs"]["x"])}).encode())

    wide = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(20_000, 1000))
    signature = {**ONE, "inputs": {"x": tensor(-1, 1000)}}
    found = open_examples(tmp_path / "x.npy", signature, tmp_path)
    answers = Answers(tmp_path / "y.npy", tmp_path, found, signature, "", resume=False)
    tracemalloc.start()
    try:
        assert Job("v1/models/m", [Server("s", Zeros())], found, answers, chunk_rows=100).run().rows == len(wide)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < wide.nbytes / 10


def test_chunks_grow_until_they_take_half_a_second_and_only_then_count():
    meter = Meter(most_rows=1000, lanes=2)
    meter.note(1, 0.2)  # the first request takes long
    for _ in range(12):
        meter.note(meter.next_rows, meter.next_rows / 100)
    assert meter.next_rows == 50
    assert meter.rate_per_second(2.0) == meter.recent_rate_per_second() == pytest.approx(200), "two lanes of 100 each"
    assert meter.rate_per_second(3600) is None


@pytest.fixture(scope="module")
def real_model(tmp_path_factory):
    """The folder of a model y = x·W + b, for the embedded server."""
    folder = tmp_path_factory.mktemp("real")
    code = "import sys, pathlib, make_models; make_models.make_dense(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, folder / "1"], cwd=DATA, check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture
def embedded(real_model, tmp_path):
    """Two embedded servers: (process, URL) each."""
    with ExitStack() as stack:
        found = []
        for index in range(2):
            port, log = choose([]), (tmp_path / f"server-{index}.log").open("wb")
            stack.enter_context(log)
            command = [sys.executable, "-m", "isthmus.server", "--port=0", f"--rest_api_port={port}", "--model_name=m"]
            process = subprocess.Popen([*command, f"--model_base_path={real_model}"], stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
            found.append((process, f"http://127.0.0.1:{port}"))
        yield found


@pytest.mark.slow
def test_real_servers_of_unequal_speed_of_which_one_is_killed_answer_every_row_once(embedded, examples, tmp_path):
    file, x = examples(30_000)
    (fast, _), (slow, _) = embedded
    servers = [Server(f"s{i}", Direct(url)) for i, (_, url) in enumerate(embedded)]
    deadline = patience.Deadline(120)
    while not deadline.over():
        with suppress(PlatformError):
            found, signature, absent = batching.ready(batching.Targets("m", tuple(servers)))
            if not absent:
                break
        time.sleep(0.1)
    with open_partial(tmp_path / "y.npy", resume=False) as folder, in_turn({fast.pid: 0.6, slow.pid: 0.3}):
        rows = open_examples(file, signature, folder)
        answers = Answers(tmp_path / "y.npy", folder, rows, signature, "", resume=False)
        job = Job("v1/models/m", found.servers, rows, answers, rates={"s0": 2, "s1": 1}, chunk_rows=200)

        def look() -> None:
            if job.works["s0"].rows > 2000 and fast.poll() is None:
                fast.kill()

        done = job.run(look)
        answers.finish()
    first, *later = done.plans
    assert first.plan.parts == (20_000, 10_000)
    assert {plan.why for plan in later} == {"s0 was lost"}
    assert sum(work.rows for work in done.works) == len(x)
    assert done.works[0].lost
    assert 0 < done.works[0].rows < len(x)
    weights, bias = np.array([[1, 2], [3, 4], [5, 6]], np.float32), np.array([0.5, -0.5], np.float32)
    assert np.allclose(np.load(tmp_path / "y.npy"), x @ weights + bias)


def test_a_stacks_servers_are_found_by_service_and_by_model(tmp_path):
    outputs = {"endpoint": "http://g:1", "model_name": "m", "digest": "sha256:ab", "plan": {"service_rate_per_second": 50.0}}
    outputs["place"] = {"platform": "local", "programs": ["a-gateway", "a-server"]}
    made = {"LocalProcesses": {"a-server": {"socket_paths": [{"rest": "/run/1"}, {"rest": "/run/2"}]}}}
    state = StackState("dev", {"services": {"a": outputs}}, made)
    for name in ("a", "m"):
        found = batching.of_stack(state, name, Client())
        assert [(it.name, it.way.url) for it in found.servers] == [
            ("a-server-0", "http+unix://%2Frun%2F1"),
            ("a-server-1", "http+unix://%2Frun%2F2"),
        ]
        assert (found.model, found.release, found.rate_per_second) == ("m", "sha256:ab", 50.0)
        assert batching.declared_rates(found) == {"a-server-0": 50, "a-server-1": 50}
    assert len(on_local.servers("a", outputs, state, Client())) == 2
    with pytest.raises(InputError, match="no service or model 'b'; expected one of a"):
        batching.of_stack(state, "b", Client())
    with pytest.raises(InputError, match="several services with model 'm'; expected one of a, c"):
        batching.of_stack(StackState("dev", {"services": {"a": outputs, "c": outputs}}, made), "m", Client())


def test_on_kubernetes_a_job_goes_through_the_gateway_and_says_so():
    place = {"platform": "kubernetes", "namespace": "n", "service": "a"}
    outputs = {"endpoint": "http://10.0.0.1:8501", "model_name": "m", "plan": {"replicas": 3}, "place": place}
    (found,) = on_kubernetes.servers("a", outputs, StackState("prod", {}, {}), Client())
    assert (found.name, found.speed, found.lanes) == ("gateway", 3, 6)
    assert "the job goes through the gateway, which spreads it over 3" in found.note


def test_an_interrupted_job_keeps_what_is_done(scorers, examples, tmp_path):
    file, _ = examples(500)
    (scorer,) = scorers(Scorer(0.001))
    found = open_examples(file, ONE, tmp_path)
    answers = Answers(tmp_path / "y.npy", tmp_path, found, ONE, "", resume=False)
    job = Job("v1/models/m", [Server("s", Direct(scorer.url))], found, answers, chunk_rows=20)

    def look() -> None:
        if scorer.rows > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.run(look)
    kept = sum(stop - start for start, stop in Answers(tmp_path / "y.npy", tmp_path, found, ONE, "", resume=True).done)
    assert 100 <= kept == scorer.rows < 500
