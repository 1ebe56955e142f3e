import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from toolchain.cluster.certificates import Authority

from isthmus.apiserver import connection as connections
from isthmus.apiserver.connection import APPLY_PATCH, Connection, connection, selected
from isthmus.apiserver.errors import ApiError, ConflictError, UnreachableApiError, UnreachablePodError
from isthmus.apiserver.kubeconfig import Access


@pytest.fixture
def api(server, config):
    return Connection(Access(json.dumps(config(server.url))))


def test_what_is_asked_goes_with_the_credentials_and_json_comes_back(server, api):
    server.says((200, {"items": []}), (200, "two\nlines\n"))
    assert api.send("PATCH", "/apis/a/b", {"force": "true"}, body={"é": 1}, media=APPLY_PATCH) == {"items": []}
    (method, path, headers, body) = server.seen[0]
    assert (method, path, json.loads(body)) == ("PATCH", "/apis/a/b?force=true", {"é": 1})
    assert headers["Authorization"] == "Bearer hunter2hunter2"
    assert headers["Content-Type"] == APPLY_PATCH
    assert headers["Accept"] == "application/json"
    assert api.send("GET", "/log") == "two\nlines\n"
    assert api.namespace == "in-one"
    assert str(api) == f"{server.url} (context one)"


def test_a_refusal_has_the_servers_words_what_was_asked_and_a_fix(server, api, refusal):
    causes = [{"reason": "FieldValueInvalid", "message": "no", "field": "spec"}]
    server.says(refusal(422, "spec: no", reason="Invalid", details={"causes": causes}))
    with pytest.raises(ApiError, match=rf"the Kubernetes API server at {server.url} \(context one\) refuses GET /a: spec: no$") as error:
        api.send("GET", "/a", {"q": "1"})
    assert (error.value.status, error.value.reason, error.value.said, error.value.causes) == (422, "Invalid", "spec: no", causes)
    assert not error.value.passes
    server.says(refusal(409, "it is there", reason="AlreadyExists"))
    with pytest.raises(ConflictError, match="it is there"):
        api.send("POST", "/a", body={})
    server.says(refusal(403, "you may not"))
    with pytest.raises(ApiError, match=r"you may not. Fix: ask for a role that allows it"):
        api.send("GET", "/a")
    server.says((404, "404 page not found"), (500, ""))
    with pytest.raises(ApiError, match="404 page not found"):
        api.send("GET", "/a")
    with pytest.raises(ApiError, match="HTTP 500") as error:
        api.send("GET", "/a")
    assert error.value.passes


def test_a_server_that_is_away_is_told_from_one_that_refuses(server, api, config, refusal):
    server.says(refusal(503, "no leader"))
    with pytest.raises(ApiError, match="no leader") as refused:
        api.send("GET", "/a")
    assert refused.value.passes
    server.answers = [(503, "text/html", b"<html>nobody behind this proxy</html>")]
    with pytest.raises(UnreachableApiError, match=r"does not answer: HTTP 503. Fix: see whether `kubectl --context one get --raw /readyz`"):
        api.send("GET", "/a")
    server.answers = [(200, "application/json", b'{"items": [')]
    with pytest.raises(UnreachableApiError, match="its answer is not whole"):
        api.send("GET", "/a")
    with pytest.raises(UnreachableApiError, match=r"at http://127.0.0.1:1 \(context one\) does not answer: Connection refused") as away:
        Connection(Access(json.dumps(config()))).send("GET", "/a")
    assert away.value.passes


def test_a_server_that_is_not_trusted_is_not_asked_again(server, config, tmp_path):
    authority, stranger = Authority.make(tmp_path, "ca"), Authority.make(tmp_path, "stranger")
    pair = authority.sign("server", "server", hosts=("127.0.0.1",))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    server.http.socket = tls.wrap_socket(server.http.socket, server_side=True)
    url = server.url.replace("http:", "https:")

    def ask(ca):
        content = config(url)
        content["clusters"][0]["cluster"]["certificate-authority"] = str(ca.file)
        return Connection(Access(json.dumps(content))).send("GET", "/a")

    assert ask(authority) == {}
    with pytest.raises(UnreachableApiError, match=r"no trusted connection to .*CERTIFICATE_VERIFY_FAILED.* Fix: .* the CA") as error:
        ask(stranger)
    assert not error.value.passes


@pytest.mark.parametrize("own", [(404, {"error": "no such model"}), (403, "RBAC: access denied"), (503, "no healthy upstream")])
def test_a_pods_own_errors_are_its_answer(server, api, own):
    server.says(own)
    reply = api.call_pod("n", "p", 8501, "/v1/models/m:predict", query={"a": "b"}, body=b"{}", headers={"x-api-key": "k"}, tls=True)
    assert reply.status == own[0]
    (method, path, headers, body) = server.seen[0]
    assert (method, path, body) == ("POST", "/api/v1/namespaces/n/pods/https:p:8501/proxy/v1/models/m:predict?a=b", b"{}")
    assert headers["x-api-key"] == "k"


def test_a_pod_that_cannot_be_reached_is_told_from_a_role_that_is_missing(server, api, refusal):
    server.says(refusal(503, "error trying to reach service: timeout"), (502, "error trying to reach service: no route"))
    for why in ("timeout", "no route"):
        with pytest.raises(UnreachablePodError, match=f"cannot reach Pod n/p: error trying to reach service: {why}"):
            api.call_pod("n", "p", 8501, "/")
    server.says(refusal(403, "you may not pods/proxy"))
    with pytest.raises(ApiError, match=r"you may not pods/proxy. Fix: ask for a role"):
        api.call_pod("n", "p", 8501, "/")


def test_a_log_comes_line_by_line(server, api, refusal):
    server.says((200, "one\ntwo\nno newline"))
    assert list(api.lines("/log", {"follow": "true"})) == ["one", "two", "no newline"]
    server.says(refusal(400, "it waits to start"))
    with pytest.raises(ApiError, match="it waits to start"):
        list(api.lines("/log", {}))


def test_credentials_that_are_refused_are_read_again_once(server, config, refusal, tmp_path, monkeypatch):
    file = tmp_path / "config"
    file.write_text(json.dumps(config(server.url, {"token": "old"})))
    api = Connection(Access(str(file)))
    assert api.send("GET", "/a") == {}
    file.write_text(json.dumps(config(server.url, {"token": "new"})))
    expired = refusal(401, "Unauthorized")
    server.says(expired, (200, {"it": "works"}))
    with pytest.raises(ApiError, match=r"Unauthorized. Fix: renew the credentials in the kubeconfig"):
        api.send("GET", "/a")  # they were read just now
    monkeypatch.setattr(connections, "_FRESH_SECONDS", 0.0)
    server.says(expired, (200, {"it": "works"}))
    assert api.send("GET", "/a") == {"it": "works"}
    server.says(expired)
    with pytest.raises(ApiError, match="Unauthorized"):
        api.send("GET", "/a")
    sent = [headers["Authorization"] for _, _, headers, _ in server.seen]
    assert sent == ["Bearer old", "Bearer old", "Bearer old", "Bearer new", "Bearer new", "Bearer new"]
    file.write_text(json.dumps(config(server.url, {"token": "newer"})))
    server.says(expired, (200, "a line\n"))
    assert list(api.lines("/log", {})) == ["a line"]
    # A key that a gateway refuses is no matter of the API server's.
    server.says((401, {"error": "no such key"}), (200, {}))
    assert api.call_pod("n", "p", 1, "/").status == 401


class Credentials:
    """Stands for what gives them: counts how often it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, life_seconds: float) -> None:
        self.count = 0
        self.fails = False
        real = connections.session

        def session(access: Access) -> Any:
            if self.fails:
                raise connections.PlatformError("the program does not work now")
            self.count += 1
            found = real(access)
            return connections.replace(found, renew_at=found.since + life_seconds)

        monkeypatch.setattr(connections, "session", session)


def test_many_threads_get_credentials_once(api, monkeypatch):
    credentials = Credentials(monkeypatch, 3600)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: api.send("GET", "/a"), range(32)))
    assert credentials.count == 1


def test_credentials_are_renewed_in_time_and_hold_where_that_fails(api, monkeypatch):
    credentials = Credentials(monkeypatch, -1)
    for _ in range(3):
        api.send("GET", "/a")
    assert credentials.count == 3
    credentials.fails = True
    assert api.send("GET", "/a") == {}
    credentials.fails = False
    assert api.send("GET", "/a") == {}  # not tried again at once
    assert credentials.count == 3


def test_all_who_ask_alike_share_a_connection(config, monkeypatch):
    access = Access(json.dumps(config()))
    assert connection(access) is connection(Access(json.dumps(config())))
    assert connection(access) is not connection(Access(json.dumps(config()), "two"))
    monkeypatch.setenv("KUBECONFIG", "/another")
    before = connection(Access())
    monkeypatch.setenv("KUBECONFIG", "/one/more")
    assert connection(Access()) is not before


def test_labels_are_one_query():
    assert selected({"b": "2", "a": "1"}) == {"labelSelector": "a=1,b=2"}
    assert selected({}) == {}
