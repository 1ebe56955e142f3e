import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import InputError
from isthmus.sizing.asking.deployed import answer_lines, stack_plan
from isthmus.sizing.asking.what_if import scenario_of
from isthmus.sizing.headroom import Headroom
from isthmus.sizing.service import Autoscale, ServiceInputs, plan_service

INPUTS = ServiceInputs(200, 50, 120, scv=0.3, measured_on="x86_64 2 cores", kinds=("cpu-2",), headroom=Headroom(zones=3))
RELEASE = {"accuracy": 0.99, "metric": "accuracy", "evaluation_examples": 450, "size_bytes": 402_118, "recipe": "float32"}


def deployed(inputs):
    return {"digest": "sha256:" + "ab" * 32, "plan": {**plan_service(inputs).output(), **RELEASE}}


def plan(*asked, **services):
    return stack_plan("prod", {name: deployed(inputs) for name, inputs in services.items()}, {}, scenario_of(asked))


def test_the_plan_is_read_back_as_it_was_deployed():
    found = plan(a=INPUTS, b=ServiceInputs(10, 100, 50))
    assert [row.name for row in found.rows] == ["a", "b"]
    assert found.services["a"].plan == plan_service(INPUTS)


def test_what_was_deployed_without_a_plan_says_what_to_do():
    with pytest.raises(InputError, match=r"old were deployed by a version .* run `pulumi up` once"):
        stack_plan("prod", {"old": {"digest": "sha256:1", "plan": {"replicas": 2}}}, {}, scenario_of([]))


def test_a_share_of_what_nobody_knows_is_refused():
    with pytest.raises(InputError, match="expected edge_requests_per_second"):
        plan("offline=30%", a=INPUTS)


def test_an_answer_says_what_is_left_what_it_carries_and_what_is_needed():
    (service,) = plan("demand=2x", a=INPUTS).services.values()
    lines = answer_lines(service.answer, asked=True)
    assert lines[0] == "3 of 3 servers cannot keep up with 400 requests/s"
    assert lines[1].startswith("they keep the objective up to 316.3 requests/s")
    assert lines[2].startswith("needed: 4 servers, p95 ")
    assert lines[2].endswith("262.80 USD a month (+65.70)")
    kept = answer_lines(plan(a=INPUTS).services["a"].answer, asked=False)
    assert "keeps the objective of 50 ms" in kept[0]
    assert answer_lines(plan("lose=9", a=INPUTS).services["a"].answer, asked=True)[0] == "none of 3 servers is left"


@pytest.mark.parametrize(
    ("inputs", "numbers"),
    [
        (INPUTS, {"μ, service rate": "120/s", "scv": "0.3", "a, offered load": "1.667", "utilisation": "55.6%", "a month": "197.10 USD"}),
        (ServiceInputs(200, 50, 120, speeds=(4, 2), kinds=("cpu-8", "cpu-4")), {"utilisation": "36.5%", "a month": "394.20 USD"}),
        (ServiceInputs(200, 90, 120, autoscale=Autoscale()), {"replicas c": "2 (the fewest that keep the objective)"}),
    ],
)
def test_each_number_has_its_formula_and_its_inputs(inputs, numbers):
    explained = {it.number: it for it in plan(a=inputs).services["a"].explanations}
    for number, result in numbers.items():
        assert explained[number].result == result
        assert explained[number].formula
        assert explained[number].inputs
    assert ("autoscaler's target" in explained) == (inputs.autoscale is not None)
    assert explained["accuracy"].result == "99.00 %"


@given(st.floats(1, 1000), st.floats(100, 1000))
def test_the_explained_p95_and_load_are_the_tables(rate, mu):
    found = plan(a=ServiceInputs(rate, 80, mu))
    (row,), explained = found.rows, {it.number: it.result for it in found.services["a"].explanations}
    assert float(explained["p95"].removesuffix(" ms")) == pytest.approx(row.p95_ms, abs=0.006)
    assert float(explained["utilisation"].removesuffix("%")) == pytest.approx(100 * row.utilisation, abs=0.06)
