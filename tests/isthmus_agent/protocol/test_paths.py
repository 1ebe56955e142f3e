from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_agent.protocol import RestError, Route, parse_path


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/v1/models/m", Route("status", "m")),
        ("GET", "/V1/MODELS/m", Route("status", "m")),
        ("GET", "/v1/models/m?a=b", Route("status", "m?a=b")),  # as TensorFlow Serving has it: a query is part of the name
        ("GET", "http://host:1/v1/models/m", Route("status", "m")),
        ("GET", "/v1/models/m/versions/007/metadata", Route("metadata", "m", version=7)),
        ("GET", "/v1/models/m/labels/stable", Route("status", "m", label="stable")),
        ("GET", "/v1/models/m/METADATA", Route("status", "m")),
        ("POST", "/v1/Models/m:predict", Route("predict", "m")),
        ("POST", "/v1/models/m/versions/9223372036854775807:classify", Route("classify", "m", version=2**63 - 1)),
        ("POST", "/v1/models/a%2Fb/labels/c%3Ad:regress", Route("regress", "a/b", label="c:d")),
    ],
)
def test_a_path_gives_its_route(method, path, route):
    assert parse_path(method, path) == route


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/", 404, "Not Found: /"),
        ("GET", "/v1", 404, "Not Found: /v1"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/m/versions/9223372036854775808", 400, "Failed to convert version: 9223372036854775808 to numeric."),
        ("GET", "/v1/models/m/versions/\u0663", 400, "no URL: /v1/models/m/versions/\u0663"),
        ("GET", "/v1/models/%zz", 400, "no URL: /v1/models/%zz"),
        ("GET", "/v1?a", 404, "Not Found: /v1?a"),
        ("GET", "/v1/models?a", 400, "Malformed request: GET /v1/models?a"),
        ("GET", "/v1/models/m/metadata?a", 400, "Malformed request: GET /v1/models/m/metadata?a"),
        ("POST", "/v1/models/m:predict?a=b", 400, "Malformed request: POST /v1/models/m:predict?a=b"),
        ("GET", "/v1/models/versions/99999999999999999999", 400, "Failed to convert version: 99999999999999999999 to numeric."),
        ("GET", "/v1/models/m:predict", 400, "Malformed request: GET /v1/models/m:predict"),
        ("POST", "/v1/models/m:PREDICT", 400, "Malformed request: POST /v1/models/m:PREDICT"),
        ("POST", "/v1/models/m", 400, "Malformed request: POST /v1/models/m"),
        ("PUT", "/v1/models/m", 400, "Malformed request: PUT /v1/models/m"),
    ],
)
def test_a_wrong_path_is_refused(method, path, status, message):
    with pytest.raises(RestError) as caught:
        parse_path(method, path)
    assert (caught.value.status, caught.value.message) == (status, message)


def test_a_version_of_very_many_digits_is_refused_not_converted():
    with pytest.raises(RestError):
        parse_path("GET", "/v1/models/m/versions/" + "9" * 100_000)


@given(name=st.text(min_size=1).filter(lambda name: not set(name) & set("\ud800")), version=st.integers(0, 2**63 - 1))
def test_any_name_survives_quoting(name, version):
    path = f"/v1/models/{quote(name.encode('utf-8', 'replace'), safe='')}/versions/{version}:predict"
    assert parse_path("POST", path) == Route("predict", name.encode("utf-8", "replace").decode(), version)


@given(method=st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "x"]), path=st.text())
def test_any_path_gives_a_route_or_a_refusal(method, path):
    assert outcome(method, path) in (200, 400, 404)


def outcome(method: str, path: str) -> int:
    """The status that a path leads to; nothing but a refusal may be raised."""
    try:
        parse_path(method, path)
    except RestError as error:
        return error.reply.status
    return 200
