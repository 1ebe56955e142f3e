"""The images at work: read-only root, users of no name, no rights to gain, a network of their own."""

import http.server
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest
from toolchain.images import ENVOY, FETCH, SERVING

REST = "http://127.0.0.1:8501/v1/models/m"
PREDICT = ("POST", f"{REST}:predict", '{"instances": [[1, 2, 3]]}')


@pytest.mark.slow
@pytest.mark.parametrize(("user", "writable_tmp"), [("", True), ("12345", False)], ids=["the image's user", "any user, nothing writable"])
def test_the_serving_image_answers_as_tensorflow_serving_does(run_image, models: Path, user: str, writable_tmp: bool):
    container = run_image(SERVING, user=user, writable_tmp=writable_tmp, environ={"MODEL_NAME": "m"}, mounts={models: "/models"})
    available, predicted, absent = container.ask(
        ("GET", f"{REST}/versions/2/metadata", ""), PREDICT, ("GET", f"{REST}/versions/7/metadata", "")
    )
    assert 200 not in available["refused"]
    assert json.loads(predicted["body"]) == {"predictions": [[22.5, 27.5]]}
    assert absent["status"] == 404
    os.kill(container.main_process(), signal.SIGTERM)
    assert container.wait() == 0, container.log()


@pytest.mark.slow
def test_a_version_is_ready_only_when_it_is_available(run_image, models: Path, tmp_path: Path):
    base = tmp_path / "served"
    (base / "m").mkdir(parents=True)
    shutil.copytree(models / "m" / "1", base / "m" / "1")
    container = run_image(SERVING, environ={"MODEL_NAME": "m"}, mounts={base: "/models"})
    first, second = container.ask(("GET", f"{REST}/versions/1/metadata", ""), ("GET", f"{REST}/versions/2/metadata", ""))
    assert (first["status"], second["status"]) == (200, 404)
    os.rename(shutil.copytree(models / "m" / "2", tmp_path / "2"), base / "m" / "2")
    (ready,) = container.ask(("GET", f"{REST}/versions/2/metadata", ""))
    assert set(ready["refused"]) <= {404}
    server = Path(f"/proc/{container.main_process()}")
    container.end()
    assert not server.exists()


# A gateway's smallest configuration: one listener that answers by itself.
_TYPES = "type.googleapis.com/envoy.extensions.filters"
ENVOY_CONFIG = {
    "static_resources": {
        "listeners": [
            {
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 8501}},
                "filter_chains": [
                    {
                        "filters": [
                            {
                                "name": "http",
                                "typed_config": {
                                    "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
                                    "stat_prefix": "test",
                                    "http_filters": [
                                        {
                                            "name": "router",
                                            "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"},
                                        }
                                    ],
                                    "route_config": {
                                        "virtual_hosts": [
                                            {
                                                "name": "all",
                                                "domains": ["*"],
                                                "routes": [
                                                    {
                                                        "match": {"prefix": "/"},
                                                        "direct_response": {"status": 200, "body": {"inline_string": "from envoy"}},
                                                    }
                                                ],
                                            }
                                        ]
                                    },
                                },
                            }
                        ]
                    }
                ],
            }
        ]
    }
}


def test_the_gateway_image_proxies_with_nothing_writable(run_image, tmp_path: Path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "envoy.yaml").write_text(json.dumps(ENVOY_CONFIG))
    container = run_image(ENVOY, mounts={tmp_path / "etc": "/etc/envoy"}, writable_tmp=False)
    (answer,) = container.ask(("GET", "http://127.0.0.1:8501/", ""))
    assert answer["body"] == "from envoy"
    os.kill(container.main_process(), signal.SIGTERM)
    assert container.wait() == 0, container.log()


class _Store(http.server.BaseHTTPRequestHandler):
    """Answers every GET with the headers that it got."""

    def do_GET(self) -> None:
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


# What the init container of a server does.
FETCH_SCRIPT = """
set -eu
mkdir -p "$TARGET/.partial"
printf 'user = "%s:%s"\\n' "$S3_ACCESS_KEY" "$S3_SECRET_KEY" |
    curl --silent --show-error --fail --config - --aws-sigv4 aws:amz:here:s3 --output "$TARGET/.partial/object" "$URL"
sha256sum "$TARGET/.partial/object" > "$TARGET/sum"
cd "$TARGET" && sha256sum -c sum && chmod 644 .partial/object && mv .partial/object object && rm -r .partial sum && cat object
"""


@pytest.mark.parametrize("user", ["", "12345"])
def test_the_fetch_image_gets_a_signed_object_and_checks_it(run_image, tmp_path: Path, user: str):
    target = tmp_path / "target"
    target.mkdir()
    target.chmod(0o777)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Store) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environ = {
            **{"TARGET": "/target", "S3_ACCESS_KEY": "some-key", "S3_SECRET_KEY": "some-secret"},
            "URL": f"http://127.0.0.1:{server.server_address[1]}/bucket/object",
        }
        container = run_image(FETCH, ["sh", "-c", FETCH_SCRIPT], user=user, environ=environ, mounts={target: "/target"}, network=True)
        status = container.wait()
        server.shutdown()
    assert status == 0, container.log()
    headers = json.loads((target / "object").read_text())
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=some-key/")
    assert "some-secret" not in json.dumps(headers)
    assert [file.name for file in target.iterdir()] == ["object"]


def test_arguments_without_a_command_are_for_curl(run_image):
    container = run_image(FETCH, ["--version"])
    assert container.wait() == 0
    assert container.log().startswith("curl 7.") or container.log().startswith("curl 8.")
