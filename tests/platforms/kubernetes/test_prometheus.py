"""Rules, alerts and dashboard against a real Prometheus that scrapes a real Envoy under load."""

import dataclasses
import http.client
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from toolchain.prepare import debian
from toolchain.prepare.layout import load
from toolchain.prepare.steps import PrepareError
from toolchain.testing import patience

from isthmus import gateway
from isthmus.platforms.kubernetes.objects import KubernetesService, Observability, Query, envoy, objects, queries
from isthmus.platforms.kubernetes.objects.dashboards import dashboard_json, panels
from isthmus.platforms.kubernetes.objects.queries import label, latency_bound_ms, recorded
from isthmus.platforms.kubernetes.objects.rules import groups, rule_file
from isthmus.provider.local.ports import choose
from isthmus.server.metrics import Metrics

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[3]
ENVOY = Path(sys.executable).parent / "envoy"
KEY = "a-key-that-is-long-enough"
DEADLINE_SECONDS = 90
TRACKS = {"stable": 80, "canary": 20}


@pytest.fixture(scope="module")
def programs() -> Path:
    """A folder like `/` with prometheus and promtool."""
    try:
        return debian.packages(load(PROJECT), ["prometheus"])
    except PrepareError as error:
        pytest.skip(str(error))


def run(root: Path, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [root / "usr/bin" / program, *map(str, arguments)]
    return subprocess.run(command, env=debian.environment(root), capture_output=True, text=True, timeout=60, check=False)


# The rules alone


def test_promtool_accepts_the_rules_of_every_configuration(programs, configured, tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": groups(configured)}))
    checked = run(programs, "promtool", "check", "rules", file)
    assert checked.returncode == 0, checked.stderr
    # Two burn rates over four windows each, gateways, demand, and servers of each track.
    assert "SUCCESS" in checked.stdout
    file.write_text(file.read_text().replace("sum by", "sum buy", 1))
    assert run(programs, "promtool", "check", "rules", file).returncode != 0


OWN = 'namespace="serving",isthmus_dev_service="digits",app_kubernetes_io_component'
ANSWERED = f'envoy_http_downstream_rq_xx{{{OWN}="gateway",envoy_http_conn_manager_prefix="rest",envoy_response_code_class="%d"}}'
TIMED = f'envoy_cluster_upstream_rq_time_%s{{{OWN}="gateway",envoy_cluster_name="stable-rest"%s}}'
UP = f'up{{{OWN}="%s",isthmus_dev_track="stable"}}'


def story(requests: float, failed: float, slow: float, servers: int, gateways: int = 2) -> dict[str, str]:
    """Series of more than an hour, a sample a minute: requests a minute, of which some fail and some take longer than 50 ms."""
    series = {
        ANSWERED % 2: f"0+{requests - failed}x70",
        ANSWERED % 5: f"0+{failed}x70",
        TIMED % ("count", ""): f"0+{requests}x70",
        TIMED % ("bucket", ',le="50"'): f"0+{requests - slow}x70",
        TIMED % ("bucket", ',le="+Inf"'): f"0+{requests}x70",
    }
    up = {"server": servers, "gateway": gateways}
    return {**series, **{(UP % kind)[:-1] + f',instance="{n}"}}': "1x70" for kind, count in up.items() for n in range(count)}}


STORIES: dict[str, tuple[dict[str, str], set[str]]] = {
    "all is well": (story(600, 0, 12, 3), set()),
    "one failure of few requests": (story(0.02, 0.02, 0, 3), set()),
    "a tenth fails": (story(600, 60, 0, 3), {"IsthmusErrorBudgetBurn"}),
    "nine of ten are slow": (story(600, 0, 540, 3), {"IsthmusLatencyBudgetBurn"}),
    "a server too few": (story(600, 0, 0, 1), {"IsthmusServersBelowPlan"}),
    "a gateway too few": (story(600, 0, 0, 3, 1), {"IsthmusGatewaysBelowPlan"}),
    "no more servers to add": (story(600, 0, 0, 8), {"IsthmusAtMostServers"}),
    "more requests than planned for": (story(18_000, 0, 0, 3), {"IsthmusDemandAbovePlan"}),
}


def judged(programs: Path, folder: Path, service: KubernetesService, stories: dict[str, tuple[dict[str, str], set[str]]]):
    """promtool's word on whether in each story just the expected alerts fire after an hour.

    Its own `alert_rule_test` wants every label and text; ALERTS, as a series, tells without.
    """
    (folder / "rules.yaml").write_text(rule_file(service))
    alerts = sorted({rule["alert"] for group in groups(service) for rule in group["rules"] if "alert" in rule})
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in given.items()],
            "promql_expr_test": [
                {
                    "expr": f'sum(ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0 or vector(0)',
                    "eval_time": "61m",
                    "exp_samples": [{"labels": "{}", "value": int(alert in expected)}],
                }
                for alert in alerts
            ],
        }
        for name, (given, expected) in stories.items()
    ]
    (folder / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    return run(programs, "promtool", "test", "rules", folder / "tests.yaml")


def test_alerts_fire_for_what_they_are_for_and_for_nothing_else(programs, make, tmp_path):
    done = judged(programs, tmp_path, make(), STORIES)
    assert done.returncode == 0, done.stdout + done.stderr
    silent = {"a tenth fails": (STORIES["a tenth fails"][0], set[str]())}
    assert judged(programs, tmp_path, make(), silent).returncode != 0


@pytest.mark.parametrize(("p95_ms", "bound"), [(50, 50), (60, 75), (0.1, 0.5), (10**6, 60_000)])
def test_the_objective_is_read_off_the_next_bound_of_the_histogram(p95_ms, bound):
    assert latency_bound_ms(p95_ms) == bound


# The dashboard alone


def test_the_dashboard_asks_what_is_tested_and_constants(configured):
    shown = json.loads(dashboard_json(configured))
    asked = {target["expr"] for panel in shown["panels"] for target in panel["targets"]}
    known = {query.expression for query in queries(configured)}
    more = asked - known
    assert all(expression.startswith(("vector(", "sum(rate(envoy_http_downstream_rq_xx")) for expression in more), more
    assert len(panels(configured)) == len(shown["panels"]) == 14


def test_the_dashboard_shows_the_objective_and_the_plan(make):
    text = dashboard_json(make(observability=Observability(p95_ms=42, requests_per_second=777)))
    for constant in ("vector(42)", "vector(777)", "vector(3)"):
        assert constant in text


def test_grafanas_sidecar_finds_it(make):
    assert objects(make())["dashboard"]["metadata"]["labels"]["grafana_dashboard"] == "1"


# All of it, for real


class ModelServer:
    """Answers like a model server and counts with the embedded server's own metrics. It fails once `broken` is set."""

    def __init__(self) -> None:
        self.broken = False
        self.metrics = Metrics()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self.reply(200, outer.metrics.render() if self.path.startswith("/monitoring") else b"{}")

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                outer.metrics.ran("digits", "predict", 0.001)
                outer.metrics.answered("digits", "predict", "REST", "INTERNAL" if outer.broken else "OK", 0.001)
                self.reply(500 if outer.broken else 200, b"{}")

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]

    @contextmanager
    def running(self) -> Iterator["ModelServer"]:
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()


@contextmanager
def process(command: list[object], log: Path, environ: dict[str, str] | None = None) -> Iterator[None]:
    with log.open("w") as stream, subprocess.Popen([str(part) for part in command], stdout=stream, stderr=stream, env=environ) as started:
        try:
            yield
        finally:
            os.kill(started.pid, signal.SIGTERM)


def until(what: Callable[[], object], why: Callable[[], object] = lambda: "") -> None:
    """Asks until it is so. Raises AssertionError with `why` when the time is up."""
    end = patience.Deadline(DEADLINE_SECONDS)
    while not end.over():
        try:
            if what():
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.3)
    raise AssertionError(why())


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - loopback
        return bytes(response.read())


def ask(port: int, key: str = KEY) -> int:
    """The status of one prediction through the gateway."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/v1/models/digits:predict", b"{}", {"x-api-key": key})
        return connection.getresponse().status
    finally:
        connection.close()


def targets(service: KubernetesService, ports: dict[str, int]) -> Iterator[dict]:
    """What Prometheus's discovery would say about the service's Pods: each of their ports, labels and annotations, at our addresses."""
    for key, it in objects(service).items():
        if it["kind"] == "Deployment":
            template = it["spec"]["template"]
            found = {
                f"__meta_kubernetes_pod_{kind}_{label(name)}": value
                for kind in ("label", "annotation")
                for name, value in template["metadata"][f"{kind}s"].items()
            }
            found |= {"__meta_kubernetes_namespace": service.namespace, "__meta_kubernetes_pod_name": key}
            for port in template["spec"]["containers"][0]["ports"]:
                number = {"__meta_kubernetes_pod_container_port_number": str(port["containerPort"])}
                yield {"targets": [f"127.0.0.1:{ports[key]}"], "labels": {**found, **number}}


def documented_relabelling() -> list[dict]:
    """Of the scrape configuration in docs/observability.md."""
    text = (PROJECT / "docs" / "observability.md").read_text()
    (job,) = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    return job["relabel_configs"]


class Site:
    """A Prometheus, a gateway and the servers of two tracks."""

    def __init__(self, service, servers: dict[str, ModelServer], folder: Path) -> None:
        self.service, self.servers, self.folder = service, servers, folder
        self.rest, self.status, self.prometheus = choose(()), choose(()), choose(())

    def query(self, expression: str) -> list[dict]:
        text = get(f"http://127.0.0.1:{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        return list(json.loads(text)["data"]["result"])

    def values(self, query: Query) -> list[float]:
        return [float(it["value"][1]) for it in self.query(query.expression)]

    def firing(self) -> set[str]:
        return {it["metric"]["alertname"] for it in self.query('ALERTS{alertstate="firing"}')}

    @contextmanager
    def running(self, programs: Path) -> Iterator["Site"]:
        live, traffic = self.folder / "live", self.folder / "traffic"
        live.mkdir()
        traffic.mkdir()
        configuration = dataclasses.replace(
            envoy(self.service),
            tracks=tuple(
                gateway.Track(track.name, track.serves.version, (gateway.Server("127.0.0.1", port, port),))
                for track in self.service.tracks
                for port in [self.servers[track.name].port]
            ),
            rest_port=self.rest,
            grpc_port=0,
            admin_port=choose(()),
            status_port=self.status,
            bind_address="127.0.0.1",
            directory=str(live),
            traffic_directory=str(traffic),
        )
        routes = gateway.routes_of(configuration, gateway.Traffic(TRACKS))
        for directory, files in (
            (self.folder, gateway.static_files(configuration)),
            (live, gateway.live_files(configuration)),
            (traffic, routes),
        ):
            for name, text in files.items():
                (directory / name).write_text(text)
        started = [ENVOY, *gateway.command(configuration, str(self.folder / "envoy.json"))[1:]]
        with (
            process(started, self.folder / "envoy.log"),
            process(self._prometheus(programs), self.folder / "prometheus.log", debian.environment(programs)),
        ):
            until(lambda: ask(self.rest) == 200, (self.folder / "envoy.log").read_text)
            until(lambda: get(f"http://127.0.0.1:{self.prometheus}/-/ready"), (self.folder / "prometheus.log").read_text)
            yield self

    def _prometheus(self, programs: Path) -> list[object]:
        rules = yaml.safe_load(rule_file(self.service))
        for group in rules["groups"]:
            group["interval"] = "1s"
        (self.folder / "rules.yaml").write_text(yaml.safe_dump(rules))
        ports = {"gateway": self.status, **{f"server-{track}": server.port for track, server in self.servers.items()}}
        scraped = {
            "job_name": "kubernetes-pods",
            "static_configs": list(targets(self.service, ports)),
            "relabel_configs": documented_relabelling(),
        }
        settings = {"global": {"scrape_interval": "1s"}, "rule_files": ["rules.yaml"], "scrape_configs": [scraped]}
        (self.folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        return [
            programs / "usr/bin/prometheus",
            f"--config.file={self.folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.prometheus}",
        ]


@contextmanager
def load_on(port: int) -> Iterator[None]:
    """Predictions one after another, some of them with a wrong key, until the end of the block."""
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.wait(0.005):
            number += 1
            ask(port, KEY if number % 10 else "a-wrong-key-that-is-long")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_every_query_has_data_and_the_alert_fires_when_servers_fail(programs, configurations, tmp_path):
    plain = configurations["canary"]
    options = gateway.GatewayOptions(api_keys={"shop": KEY}, requests_per_second_per_client=30, burst_per_client=30)
    service = dataclasses.replace(plain, gateway=dataclasses.replace(plain.gateway, options=options))
    with (
        ModelServer().running() as stable,
        ModelServer().running() as canary,
        Site(service, {"stable": stable, "canary": canary}, tmp_path).running(programs) as site,
        load_on(site.rest),
    ):
        every_query_has_data(site)
        assert site.values(named(site, "errors")) == [0]
        assert "IsthmusErrorBudgetBurn" not in site.firing()
        stable.broken = canary.broken = True
        until(lambda: "IsthmusErrorBudgetBurn" in site.firing(), lambda: f"fires: {site.firing()}")
        assert "IsthmusLatencyBudgetBurn" not in site.firing()


def named(site: Site, name: str) -> Query:
    (found,) = [query for query in queries(site.service) if query.name == name]
    return found


def every_query_has_data(site: Site) -> None:
    missing: list[str] = []

    def nothing_is_missing() -> bool:
        """Missing: no series, or not a number since there was nothing to divide by."""
        asked = {query.name: site.values(query) for query in queries(site.service)}
        asked |= {f"recorded {query.name}": [float(it["value"][1]) for it in site.query(query.name)] for query in recorded(site.service)}
        asked |= {f"some {name}": [it for it in asked[name] if it > 0] for name in ("unauthorised", "rate-limited")}
        missing[:] = [name for name, found in asked.items() if not found or any(map(math.isnan, found))]
        return not missing

    until(nothing_is_missing, lambda: f"no data for {missing}")
    shares = site.values(named(site, "isthmus:split:ratio"))
    assert len(shares) == len(TRACKS)
    assert sum(shares) == pytest.approx(1)
    assert sum(site.values(named(site, "isthmus:servers:count"))) == len(TRACKS)
