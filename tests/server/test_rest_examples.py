"""Requests and replies of `:classify` and `:regress`."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.server.rest_examples import Feature, parse_examples, render_classifications, render_regressions
from isthmus_agent.protocol import RestError


def read(text: str):
    return parse_examples(text.encode())


def refused(text: str) -> str:
    with pytest.raises(RestError) as caught:
        read(text)
    assert caught.value.status == 400
    return caught.value.message


def test_features_have_the_kind_of_their_values():
    request = read(
        '{"signature_name": "s", "context": {"c": true}, "examples": [{"i": [1, false], "f": 1.0, "b": ["é", {"b64": "AA=="}], "n": []}]}'
    )
    assert request.signature_name == "s"
    assert request.context == {"c": Feature("int64", [1])}
    assert request.examples == [
        {"i": Feature("int64", [1, 0]), "f": Feature("float", [1.0]), "b": Feature("bytes", ["é".encode(), b"\0"]), "n": Feature()}
    ]


def test_there_may_be_no_context_and_a_feature_may_be_said_twice():
    request = read('{"examples": [{"x": 1, "x": [2.5]}, {}]}')
    assert request.context is None
    assert request.examples == [{"x": Feature("float", [2.5])}, {}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "JSON Parse error: The document is empty"),
        ("[]", "JSON Value: [] Is not object"),
        ("{}", "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ('{"examples": 5}', "Expecting 'examples' value to be an list/array"),
        ('{"examples": []}', "'examples' value is an empty array"),
        ('{"examples": [1]}', "Example must be JSON object but got JSON Number"),
        ('{"context": null, "examples": [{}]}', "Example must be JSON object but got JSON Null"),
        ('{"examples": [{"x": [1, 2.5]}]}', "Unexpected element type in feature: x expecting type: int64"),
        ('{"examples": [{"x": [1.5, "a"]}]}', "Unexpected element type in feature: x expecting type: float"),
        ('{"examples": [{"x": null}]}', "Feature: x has element with unexpected JSON type: Null"),
        ('{"examples": [{"x": [[1]]}]}', "Feature: x has element with unexpected JSON type: Array"),
        ('{"examples": [{"x": {"y": 1}}]}', "Feature: x has element with unexpected JSON type: Object"),
        ('{"examples": [{"x": {"b64": "!"}}]}', "Unable to base64 decode"),
        ('{"examples": [{"x": 9223372036854775808}]}', "Feature: x has uint64_t element. Only int64_t is supported."),
    ],
)
def test_what_is_wrong_is_told_as_tensorflow_serving_tells_it(text, message):
    assert refused(text).endswith(message)


@given(
    body=st.one_of(
        st.binary(),
        st.recursive(
            st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["examples", "context", "b64", "x"]), inner, max_size=3)
            ),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_any_body_is_read_or_refused(body):
    refusal = None
    try:
        parse_examples(body)
    except RestError as error:
        refusal = error
    assert refusal is None or (refusal.status == 400 and refusal.message)


def test_results_are_lists():
    reply = json.loads(render_classifications([[(b"a", 0.1), (b"", 1.0)], []]))
    assert reply == {"results": [[["a", 0.1], ["", 1.0]], []]}
    assert json.loads(render_regressions(np.array([22, 0.5], np.float32))) == {"results": [22.0, 0.5]}
    for render in (render_classifications, render_regressions):
        with pytest.raises(RestError, match="Cannot convert empty"):
            render([])
