import dataclasses

import pytest

from isthmus.errors import InputError
from isthmus.sizing.advisor.advice import advise
from isthmus.sizing.advisor.inputs import INPUTS, situation_of
from isthmus.sizing.advisor.presets import PRESETS
from isthmus.sizing.advisor.sensitivity import flips

NUMBERS = [name for name in INPUTS if name != "data_must_stay"]


def test_everything_wrong_is_said_at_once():
    with pytest.raises(InputError) as caught:
        situation_of(
            {"p95": 50, "devices": 1.5, "request_bytes": "many", "offline_percent": 101, "data_must_stay": 1, "model_bytes": True}, "advise"
        )
    said = {problem.path: problem for problem in caught.value.problems}
    assert said["advise.p95"].fix == "write p95_ms"
    assert "is missing" in said["advise.p95_ms"].what
    assert "not whole" in said["advise.devices"].what
    assert "not a number" in said["advise.request_bytes"].what
    assert "from 0 to 100" in said["advise.offline_percent"].expected
    assert "neither true nor false" in said["advise.data_must_stay"].what
    assert "not a number" in said["advise.model_bytes"].what
    assert {"advise.requests_per_second", "advise.round_trip_p95_ms", "advise.cloud_service_ms", "advise.device_p95_ms"} < said.keys()


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1, 10**400, "5", [5]])
def test_a_number_that_is_none_is_refused_with_its_name(name, bad):
    values = {**PRESETS["smart-security"].values, name: bad}
    with pytest.raises(InputError) as caught:
        situation_of(values)
    assert [problem.path for problem in caught.value.problems] == [name]


def test_a_situation_made_directly_is_checked_too():
    situation = dataclasses.replace(situation_of(PRESETS["smart-security"].values), p95_ms=float("nan"), devices=0)
    for ask in (advise, flips):
        with pytest.raises(InputError) as caught:
            ask(situation)
        assert {problem.path for problem in caught.value.problems} == {"p95_ms", "devices"}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("limit", ["least", "most"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_input_at_its_limit_gets_an_answer(preset, name, limit):
    situation = situation_of({**PRESETS[preset].values, name: INPUTS[name].metadata[limit]})
    assert advise(situation).reasons
