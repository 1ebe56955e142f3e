"""Start, versions that come and go, and the end of a server process."""

import re
import shutil
import signal
import threading
import time

import psutil
import pytest
import requests
from toolchain.testing import patience

pytestmark = pytest.mark.slow

BODY = '{"instances":[[1,2,3]]}'


def test_an_unknown_flag_prints_the_usage_and_the_server_goes_on(server):
    assert "unknown: --no_such_flag=1" in server.log()
    assert "usage: python -m isthmus.server" in server.log()
    assert "flag --num_load_threads has no effect" in server.log()


def test_a_server_listens_on_loopback_only(server):
    listening = re.findall(r"at:?\s?(\S+):\d+ \.\.\.", server.log())
    assert listening == ["127.0.0.1", "127.0.0.1"]


def test_versions_come_and_go_while_a_server_runs(make_models, models, tmp_path, start_server):
    base = tmp_path / "late"
    server = start_server("--model_name=late", f"--model_base_path={base}", "--max_num_load_retries=0")
    until(lambda: "waiting for the base path" in server.log())
    with pytest.raises(requests.ConnectionError):  # the port is closed while there is no model
        requests.get(server.url, timeout=5)

    install(models / "m" / "1", base / "1")
    server.wait_until_open()
    assert server.states("late") == {"1": "AVAILABLE"}

    seen = Traffic(f"{server.url}/v1/models/late:predict")
    with seen:
        install(models / "m" / "2", base / "2")
        until(lambda: server.states("late") == {"2": "AVAILABLE", "1": "END"})

        damaged = tmp_path / "damaged"
        shutil.copytree(models / "m" / "1", damaged)
        (damaged / "saved_model.pb").write_bytes(b"not a model")
        install(damaged, base / "3")
        until(lambda: server.states("late").get("3") == "END")
        assert server.states("late")["2"] == "AVAILABLE"  # the old one stays where the new one fails
        status = requests.get(f"{server.url}/v1/models/late/versions/3", timeout=10).json()["model_version_status"][0]["status"]
        assert status["error_code"] != "OK"
        assert status["error_message"]
    assert seen.statuses == {200}  # nobody was refused meanwhile
    assert seen.count > 10

    assert requests.post(f"{server.url}/v1/models/late/versions/1:predict", data=BODY, timeout=10).status_code == 404
    shutil.rmtree(base / "3")
    shutil.rmtree(base / "2")
    until(lambda: server.states("late") == {"3": "END", "2": "END", "1": "AVAILABLE"})  # the newest that is left
    shutil.rmtree(base / "1")
    until(lambda: server.states("late") == {"3": "END", "2": "END", "1": "END"})
    assert requests.post(f"{server.url}/v1/models/late:predict", data=BODY, timeout=10).status_code == 404

    install(models / "m" / "2", base / "2")  # what comes back is served again
    until(lambda: server.states("late")["2"] == "AVAILABLE")


def test_sigterm_lets_calls_finish_and_ends_the_process(models, start_server):
    server = start_server("--model_name=slow", f"--model_base_path={models}/slow", "--drain_seconds=60").wait_until_open()
    url = f"{server.url}/v1/models/slow:predict"
    process = psutil.Process(server.process.pid)
    rounds = rounds_for(url, process, cpu_seconds=3)  # far more than it takes to see that it began
    idle = requests.Session()
    idle.get(server.url, timeout=10)  # an open connection that waits for nothing must not hold the end up
    replies = []
    caller = threading.Thread(target=lambda: replies.append(requests.post(url, data=f'{{"inputs": {rounds}}}', timeout=60)))
    before = process.cpu_times().user
    caller.start()
    until(lambda: process.cpu_times().user > before + 0.3)  # nothing else shows from outside that the call is being computed
    assert not replies
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=90) == 0
    caller.join(timeout=10)
    assert [reply.status_code for reply in replies] == [200]
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=5)


def test_a_damaged_model_ends_the_server_with_a_clear_text(tmp_path, start_server):
    (tmp_path / "bad" / "1").mkdir(parents=True)
    (tmp_path / "bad" / "1" / "saved_model.pb").write_bytes(b"not a model")
    server = start_server(
        "--model_name=bad", f"--model_base_path={tmp_path}/bad", "--max_num_load_retries=1", "--load_retry_interval_micros=1000"
    )
    assert server.process.wait(timeout=60) == 1
    last = server.log().splitlines()[-1]
    assert last.startswith("Failed to start server. Error: 1 servable(s) did not become available: {{name: bad version: 1} due to error:")
    assert server.log().count("loading version 1 of model bad failed") == 2  # tried again, once
    assert "Traceback" not in server.log()


def install(source, destination):
    """Put a version there in one step, as a deployment should."""
    destination.parent.mkdir(exist_ok=True)
    staging = destination.parent / f"staging-{destination.name}"
    shutil.copytree(source, staging)
    staging.rename(destination)


def until(condition, seconds: float = 60) -> None:
    end = patience.Deadline(seconds)
    while not condition():
        assert not end.over(), "not in time"
        time.sleep(0.05)


def rounds_for(url: str, process: psutil.Process, cpu_seconds: float) -> int:
    """How many rounds of the slow model take about that much of a processor's time, however busy the machine is."""
    rounds = 1000
    while True:
        before = process.cpu_times().user
        requests.post(url, data=f'{{"inputs": {rounds}}}', timeout=60).raise_for_status()
        took = process.cpu_times().user - before
        if took > 0.2:
            return int(rounds * cpu_seconds / took)
        rounds *= 4


class Traffic:
    """Calls in the background; the statuses that were seen."""

    def __init__(self, url: str) -> None:
        self.url, self.statuses, self.count = url, set(), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with requests.Session() as session:
            while not self._stop.is_set():
                self.statuses.add(session.post(self.url, data=BODY, timeout=10).status_code)
                self.count += 1

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()
