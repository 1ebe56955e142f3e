"""Keys, tokens, limits and TLS, asked of a running Envoy."""

import base64
import datetime
import json
import socket
import ssl
import time

import grpc
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

from isthmus import gateway as g

KEYS = {"alice": "alice-has-this-key-alone", "bob": "bob-has-quite-another-key"}
GRPC_PREDICT = "/tensorflow.serving.PredictionService/Predict"
ISSUER, AUDIENCE = "https://tokens.test", "digits"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Makes tokens signed with ES256."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        numbers = self.key.public_key().public_numbers()
        coordinates = {axis: b64(getattr(numbers, axis).to_bytes(32, "big")) for axis in ("x", "y")}
        self.jwks = json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256", **coordinates}]})

    def token(self, **claims: object) -> str:
        payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": "carol", "exp": int(time.time()) + 600, **claims}
        kept = {key: value for key, value in payload.items() if value is not None}
        signed = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "ES256", "kid": "1"}, kept))
        r, s = utils.decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@pytest.fixture(scope="module")
def issuer():
    return Issuer()


@pytest.fixture(scope="module")
def backend(make_shared_backend):
    return make_shared_backend("server")


@pytest.fixture(scope="module")
def envoy(make_shared_envoy, track, backend, issuer):
    """Keys and tokens, either of them; no rate limit."""
    options = g.GatewayOptions(api_keys=KEYS, jwt=g.Jwt(ISSUER, (AUDIENCE,), issuer.jwks), max_request_bytes=100_000, workers=1)
    return make_shared_envoy(track("stable", backend), options=options)


@pytest.fixture
def fresh(backend):
    backend.requests.clear()
    backend.calls.clear()
    return backend


def test_a_key_names_its_client_and_goes_no_further(envoy, fresh):
    assert envoy.predict(headers={"x-api-key": KEYS["alice"]}).status_code == 200
    (asked,) = fresh.requests
    assert asked.headers["x-isthmus-client"] == "key:alice"
    assert KEYS["alice"] not in str(asked.headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": "wrong"},
        {"x-api-key": ""},
        {"authorization": "Bearer x.y.z"},
        {"x-isthmus-client": "alice"},
        {"x-isthmus-issuer": ISSUER},
    ],
)
def test_without_a_key_or_a_token_nothing_is_served(envoy, fresh, headers):
    for path in ("/v1/models/digits:predict", "/v1/models/digits", "/elsewhere"):
        answer = envoy.predict(path, headers=headers)
        assert answer.status_code == 401
        assert list(answer.json()) == ["error"]
    assert fresh.requests == []


def test_health_needs_no_key(envoy):
    assert {requests.get(envoy.rest + path, timeout=10).status_code for path in (g.ALIVE_PATH, g.READY_PATH)} == {200}
    assert requests.get(envoy.status + "/ready", timeout=10).status_code == 200


def test_a_token_names_its_subject_and_goes_no_further(envoy, fresh, issuer):
    answer = envoy.predict(headers={"authorization": f"Bearer {issuer.token()}"})
    assert answer.status_code == 200
    (asked,) = fresh.requests
    assert asked.headers["x-isthmus-client"] == "token:carol"
    assert "authorization" not in asked.headers


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1}, {"exp": None}, {"aud": "other"}, {"iss": "https://other.test"}, {"nbf": 2**40}],
    ids=["expired", "never expires", "audience", "issuer", "not yet"],
)
def test_a_token_that_is_not_for_us_is_refused(envoy, fresh, issuer, claims):
    assert envoy.predict(headers={"authorization": f"Bearer {issuer.token(**claims)}"}).status_code in (401, 403)
    assert fresh.requests == []


def test_a_token_of_another_key_or_in_the_query_is_refused(envoy, fresh, issuer):
    assert envoy.predict(headers={"authorization": f"Bearer {Issuer().token()}"}).status_code == 401
    assert envoy.predict(f"/v1/models/digits:predict?access_token={issuer.token()}").status_code == 401
    assert fresh.requests == []


def test_a_wrong_key_is_not_made_good_by_a_token(envoy, issuer):
    assert envoy.predict(headers={"x-api-key": "wrong", "authorization": f"Bearer {issuer.token()}"}).status_code == 401


def test_what_only_the_gateway_may_say_is_removed(envoy, fresh):
    sent = {
        "x-api-key": KEYS["bob"],
        "x-isthmus-client": "alice",
        "x-isthmus-issuer": ISSUER,
        "x-envoy-retry-on": "5xx",
        "x-envoy-upstream-rq-timeout-ms": "1",
    }
    assert envoy.predict(headers=sent).status_code == 200
    (asked,) = fresh.requests
    assert asked.headers.getall("x-isthmus-client") == ["key:bob"]
    assert not set(asked.headers) & set(sent) - {"x-isthmus-client"}


def test_grpc_knows_the_same_clients(envoy, fresh, issuer):
    assert envoy.call(metadata={"x-api-key": KEYS["alice"]}) == b"server"
    assert envoy.call(metadata={"authorization": f"Bearer {issuer.token()}"}) == b"server"
    assert [call["x-isthmus-client"] for call in fresh.calls] == ["key:alice", "token:carol"]
    assert all("x-api-key" not in call and "authorization" not in call for call in fresh.calls)
    for metadata in ({}, {"x-api-key": "wrong"}, {"authorization": f"Bearer {issuer.token(exp=1)}"}):
        with pytest.raises(grpc.RpcError) as error:
            envoy.call(metadata=metadata)
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_request_that_is_too_large_is_refused(envoy, fresh):
    headers = {"x-api-key": KEYS["alice"]}
    answer = envoy.predict(data=b"x" * 100_001, json=None, headers=headers)
    assert (answer.status_code, answer.json()) == (413, {"error": "The request is larger than 100000 bytes"})
    assert fresh.requests == []
    assert envoy.predict(data=b"x" * 100_000, json=None, headers=headers).json()["bytes"] == 100_000
    assert envoy.call(message=b"x" * 90_000, metadata=headers) == b"server"
    with pytest.raises(grpc.RpcError) as error:
        envoy.call(message=b"x" * 200_000, metadata=headers)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_headers_that_are_too_many_or_too_large_are_refused(envoy):
    key = {"x-api-key": KEYS["alice"]}
    assert envoy.predict(headers={**key, "x-big": "x" * 40_000}).status_code == 431
    assert envoy.predict(headers={**key, **{f"x-{i}": "x" for i in range(120)}}).status_code == 431


def test_failures_are_logged_and_no_secret_is(envoy, issuer, eventually):
    token = issuer.token()
    envoy.predict(headers={"x-api-key": KEYS["alice"]}, json={"private": "body-of-a-request"})
    envoy.predict("/nothing/here?secret=in-the-query", headers={"x-api-key": KEYS["alice"]})
    envoy.predict(headers={"x-api-key": "a-key-that-is-wrong", "authorization": f"Bearer {token}"})
    eventually(lambda: "Bearer" not in envoy.log.read_text() and "/nothing/here" in envoy.log.read_text(), "the log is written")
    text = envoy.log.read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    (missed,) = [line for line in lines if line["path"] == "/nothing/here"]
    assert (missed["status"], missed["client"], missed["listener"]) == (404, "key:alice", "rest")
    assert all(line["status"] >= 400 or line["grpc_status"] for line in lines)
    for secret in (*KEYS.values(), token, "a-key-that-is-wrong", "in-the-query", "body-of-a-request"):
        assert secret not in text
        assert secret not in requests.get(f"{envoy.status}/stats", timeout=10).text


def raw(port: int, head: str) -> bytes:
    """What a request that a client's library would not send is answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}\n") and (more := connection.recv(4096)):
            answer += more
    return answer


@pytest.mark.parametrize(
    ("head", "status", "says"),
    [
        ("GET /v1/models%2fdigits HTTP/1.1\nHost: x", 400, "path_normalization_failed"),
        ("GET /v1/models/digits#a HTTP/1.1\nHost: x", 400, "path_normalization_failed"),
        ("GET /v1/models/digits HTTP/1.1", 400, "missing_host_header"),
        ("nonsense", 400, "codec_error"),
        ("OPTIONS * HTTP/1.1\nHost: x", 404, "There is nothing at this path"),
        (
            f"GET /v1/models/digits HTTP/1.1\nHost: x\nx-api-key: {KEYS['bob']}\nConnection: upgrade\nUpgrade: websocket",
            403,
            "upgrade_failed",
        ),
        ("POST /v1/models/digits:predict HTTP/1.1\nHost: x", 401, "Jwt is missing"),
    ],
)
def test_every_refusal_says_why(envoy, head, status, says):
    first, _, body = raw(envoy.gateway.rest_port, head).partition(b"\r\n\r\n")
    assert int(first.split()[1]) == status
    assert says in json.loads(body)["error"]


def test_an_http_1_0_client_is_served(envoy, fresh):
    with socket.create_connection(("127.0.0.1", envoy.gateway.rest_port), timeout=30) as connection:
        connection.sendall(f"GET /v1/models/digits HTTP/1.0\r\nx-api-key: {KEYS['bob']}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b" 200 " in answer.splitlines()[0]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["server"] == "server"


def outcome(envoy, metadata: dict[str, str]) -> grpc.StatusCode:
    try:
        envoy.call(metadata=metadata)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_a_client_at_its_limit_leaves_the_others_alone(make_envoy, track, backend):
    options = g.GatewayOptions(api_keys=KEYS, requests_per_second_per_client=1, burst_per_client=5, workers=1)
    envoy = make_envoy(track("stable", backend), options=options)
    alice, bob = ({"x-api-key": key} for key in KEYS.values())
    answers = [envoy.predict(headers=alice) for _ in range(20)]
    served = [answer for answer in answers if answer.status_code == 200]
    assert 5 <= len(served) <= 12
    assert [answer.status_code for answer in answers[:5]] == [200] * 5
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert refused.status_code == 429
    assert "x-ratelimit-reset" in refused.headers
    assert list(refused.json()) == ["error"]
    assert [envoy.predict(headers=bob).status_code for _ in range(5)] == [200] * 5
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in {outcome(envoy, alice) for _ in range(20)}
    assert envoy.predict(headers={}).status_code == 401  # is counted elsewhere


def test_a_subject_is_never_a_keys_client(envoy, fresh, issuer):
    for subject in ("alice", "key:alice"):
        assert envoy.predict(headers={"authorization": f"Bearer {issuer.token(sub=subject)}"}).status_code == 200
    assert [asked.headers["x-isthmus-client"] for asked in fresh.requests] == ["token:alice", "token:key:alice"]


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR", "Bearer "])
def test_the_scheme_is_spelled_in_any_case(envoy, fresh, issuer, scheme):
    assert envoy.predict(headers={"authorization": f"{scheme} {issuer.token()}"}).status_code == 200
    (asked,) = fresh.requests
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("scheme", ["Basic", "xBearer-", "fooBearer", "Token", "Bearer,", "Basic Bearer"])
def test_another_scheme_is_no_token(envoy, issuer, scheme):
    assert envoy.predict(headers={"authorization": f"{scheme} {issuer.token()}"}).status_code == 401


@pytest.mark.parametrize(
    "subject", ["a\r\nx-isthmus-client: key:alice", "a\nb", "a\rb", "a\x00b", "ü", "", 7, ["alice"], {"a": 1}], ids=repr
)
def test_a_subject_that_does_not_fit_into_a_header_is_refused(envoy, fresh, issuer, subject, eventually):
    answer = envoy.predict(headers={"authorization": f"Bearer {issuer.token(sub=subject)}"})
    assert answer.status_code in (401, 403), fresh.requests and fresh.requests[0].headers
    assert answer.json()["error"]
    assert fresh.requests == []
    eventually(lambda: all(line.startswith(("{", "[")) for line in envoy.log.read_text().splitlines()), "no line of the log is split")


def test_a_token_without_a_subject_has_no_name(envoy, fresh, issuer):
    assert envoy.predict(headers={"authorization": f"Bearer {issuer.token(sub=None)}"}).status_code == 200
    assert fresh.requests[0].headers["x-isthmus-client"] == "token:"


def test_health_is_asked_as_load_balancers_do(envoy):
    for path in (g.ALIVE_PATH, g.READY_PATH):
        assert [requests.request(method, f"{envoy.rest}{path}?probe=1", timeout=10).status_code for method in ("GET", "HEAD")] == [200] * 2
        assert requests.post(envoy.rest + path, timeout=10).status_code == 401
        assert requests.get(f"{envoy.rest}{path}z", timeout=10).status_code == 401


@pytest.mark.parametrize("access", ["keys", "tokens", "both"])
def test_who_guesses_is_slowed_down_and_nobody_else_is(make_envoy, track, backend, issuer, access):
    jwt = None if access == "keys" else g.Jwt(ISSUER, (AUDIENCE,), issuer.jwks)
    envoy = make_envoy(track("stable", backend), options=g.GatewayOptions(api_keys={} if access == "tokens" else KEYS, jwt=jwt, workers=1))
    guess = {"authorization": "Bearer x.y.z"} if access == "tokens" else {"x-api-key": "a-guess-that-is-wrong"}
    good = {"authorization": f"Bearer {issuer.token()}"} if access == "tokens" else {"x-api-key": KEYS["alice"]}
    with requests.Session() as session:
        found = [session.get(f"{envoy.rest}/v1/models/digits", headers=guess, timeout=10).status_code for _ in range(120)]
        assert found[:50] == [401] * 50
        assert 429 in found
        assert set(found) == {401, 429}
        assert found.count(429) > 20
        assert session.get(f"{envoy.rest}/v1/models/digits", headers=good, timeout=10).status_code == 200
        if access == "both":
            token = {"authorization": f"Bearer {issuer.token()}"}
            assert session.get(f"{envoy.rest}/v1/models/digits", headers=token, timeout=10).status_code == 200
            wrong = {"authorization": f"Bearer {issuer.token(exp=1)}"}
            assert 429 in {session.get(f"{envoy.rest}/v1/models/digits", headers=wrong, timeout=10).status_code for _ in range(80)}


def test_without_keys_a_client_is_where_it_comes_from(make_envoy, track, backend):
    options = g.GatewayOptions(requests_per_second_per_client=0.1, burst_per_client=3, trusted_hops=1, workers=1)
    envoy = make_envoy(track("stable", backend), options=options)
    for address in ("192.0.2.1", "192.0.2.2"):
        found = [envoy.predict(headers={"x-forwarded-for": address}).status_code for _ in range(5)]
        assert found == [200, 200, 200, 429, 429]


def test_a_replaced_key_is_worth_nothing_after_one_answer(make_envoy, track, backend):
    envoy = make_envoy(track("stable", backend), options=g.GatewayOptions(api_keys={"alice": KEYS["alice"]}, workers=1))
    old, new = ({"x-api-key": KEYS[client]} for client in ("alice", "bob"))
    with requests.Session() as session:

        def ask(headers: dict[str, str]) -> requests.Response:
            return session.post(f"{envoy.rest}/v1/models/digits:predict", headers=headers, timeout=10)

        assert ask(old).status_code == 200
        envoy.reload(options=g.GatewayOptions(api_keys={"alice": KEYS["bob"]}, workers=1))
        assert envoy.predict(headers=old).status_code == 401
        # A connection that is open keeps its listener for one more answer, which asks to close it.
        assert ask(old).headers["connection"] == "close"
        assert [ask(old).status_code, ask(new).status_code] == [401, 200]


def certificate(directory, name: str) -> int:
    """Writes tls.crt and tls.key for localhost; returns the serial number."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    fresh = directory / f"..{name}"
    fresh.mkdir(parents=True)
    (fresh / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (fresh / "tls.key").write_bytes(private)
    for file in ("tls.crt", "tls.key"):
        if not (directory / file).is_symlink():
            (directory / file).symlink_to(f"..data/{file}")
    (directory / "..tmp").symlink_to(fresh.name)
    (directory / "..tmp").rename(directory / "..data")
    return made.serial_number


def served_certificate(port: int, ciphers: str = "DEFAULT", **context_options: object) -> tuple[int, str | None]:
    """Serial number and TLS version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(ciphers)
    for key, value in context_options.items():
        setattr(context, key, value)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw, context.wrap_socket(raw) as connection:
        der = connection.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(der).serial_number, connection.version()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_a_renewed_certificate_is_served_without_a_restart(make_envoy, track, backend, tmp_path, eventually):
    first = certificate(tmp_path, "first")
    tls = g.Tls(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))
    envoy = make_envoy(track("stable", backend), options=g.GatewayOptions(tls=tls, workers=1))
    port, pid = envoy.gateway.rest_port, envoy.process.pid
    assert served_certificate(port) == (first, "TLSv1.3")
    assert served_certificate(port, maximum_version=ssl.TLSVersion.TLSv1_2) == (first, "TLSv1.2")
    old = {"minimum_version": ssl.TLSVersion.TLSv1, "maximum_version": ssl.TLSVersion.TLSv1_1}
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        served_certificate(port, "ALL:@SECLEVEL=0", **old)
    answer = requests.post(f"https://localhost:{port}/v1/models/digits:predict", verify=tls.certificate_file, timeout=10)
    assert answer.json()["server"] == "server"
    credentials = grpc.ssl_channel_credentials((tmp_path / "tls.crt").read_bytes())
    with grpc.secure_channel(f"localhost:{envoy.gateway.grpc_port}", credentials) as channel:
        assert channel.unary_unary(GRPC_PREDICT)(b"", timeout=30) == b"server"

    second = certificate(tmp_path, "second")
    eventually(lambda: served_certificate(port)[0] == second, "the renewed certificate is served")
    assert envoy.process.pid == pid
    assert envoy.process.poll() is None


def test_prometheus_finds_who_was_refused(envoy, issuer):
    envoy.predict(headers={"x-api-key": "wrong"})
    envoy.predict(headers={"authorization": f"Bearer {issuer.token(exp=1)}"})
    text = requests.get(f"{envoy.status}/stats/prometheus", timeout=10).text
    for name in ("envoy_http_api_key_auth_unauthorized", "envoy_http_jwt_authn_denied"):
        (value,) = [line.split()[-1] for line in text.splitlines() if line.startswith(name) and '"rest"' in line]
        assert int(value) > 0
    assert 'envoy_cluster_upstream_rq_xx{envoy_response_code_class="4"' not in text
