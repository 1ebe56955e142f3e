from dataclasses import dataclass
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from isthmus.fleet.verdict import judge

DIGEST, OTHER = "sha256:new", "sha256:old"


@dataclass(frozen=True)
class Report:
    digest: str = DIGEST
    attempt: int = 2
    state: Literal["starting", "serving", "refused"] = "serving"
    reason: str = ""
    serving_digest: str = DIGEST
    is_stale: bool = False


def test_a_device_that_serves_the_digest_confirms_it() -> None:
    verdict = judge(DIGEST, 2, ["a"], {"a": Report()})
    assert verdict.confirmed == ("a",)
    assert not verdict.waiting
    assert not verdict.refused
    assert verdict.failures(10) == []


def test_a_silent_device_is_waited_for_and_is_a_failure_in_the_end() -> None:
    verdict = judge(DIGEST, 2, ["a", "b"], {"a": Report()})
    assert not verdict.is_final
    assert verdict.waiting or verdict.refused
    assert verdict.progress() == "1 of 2 devices confirmed; waiting for b (silent)"
    assert verdict.failures(30) == ["b did not confirm within 30 s: silent"]


def test_a_refusal_is_final_and_says_why() -> None:
    refused = Report(state="refused", reason="wrong signature", serving_digest=OTHER)
    verdict = judge(DIGEST, 2, ["a", "b"], {"a": Report(), "b": refused})
    assert verdict.is_final
    assert verdict.waiting or verdict.refused
    assert verdict.failures(30) == ["b refused: wrong signature"]


def test_a_refusal_of_an_earlier_attempt_does_not_count() -> None:
    verdict = judge(DIGEST, 2, ["a"], {"a": Report(attempt=1, state="refused", reason="disk full")})
    assert verdict.waiting == {"a": "last answered attempt 1"}


def test_a_confirmation_that_is_overdue_is_none() -> None:
    verdict = judge(DIGEST, 2, ["a"], {"a": Report(is_stale=True)})
    assert verdict.confirmed == ()
    assert verdict.waiting == {"a": "silent since it answered"}


def test_a_device_that_claims_to_serve_while_it_serves_something_else_is_not_believed() -> None:
    assert judge(DIGEST, 2, ["a"], {"a": Report(serving_digest=OTHER)}).confirmed == ()


reports = st.builds(
    Report,
    digest=st.sampled_from([DIGEST, OTHER]),
    attempt=st.integers(1, 3),
    state=st.sampled_from(["starting", "serving", "refused"]),
    serving_digest=st.sampled_from([DIGEST, OTHER, ""]),
    is_stale=st.booleans(),
)


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.dictionaries(st.sampled_from("abcdefgh"), reports))
def test_every_device_is_in_exactly_one_class_and_only_proof_confirms(devices: list[str], known: dict[str, Report]) -> None:
    verdict = judge(DIGEST, 2, devices, known)
    assert sorted([*verdict.confirmed, *verdict.refused, *verdict.waiting]) == sorted(devices)
    for device in verdict.confirmed:
        assert known[device] == Report()
    assert (set(verdict.confirmed) == set(devices)) == (not verdict.waiting and not verdict.refused)
    assert len(verdict.failures(1)) == len(devices) - len(verdict.confirmed)
