import pytest

from isthmus.apiserver.errors import ApiError, UnreachableApiError
from isthmus.apiserver.retrying import patiently

AWAY = UnreachableApiError("it does not answer. Fix: look", "no route")
BUSY = ApiError("it refuses: later. Fix: wait", 429, "later")
REFUSED = ApiError("it refuses: no", 403, "no")
NOT_TRUSTED = UnreachableApiError("it is not trusted", "a stranger", passes=False)


class Asked:
    """Raises these errors in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.shown: list[str] = []
        self.pauses: list[float] = []

    def ask(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    def patiently(self, seconds: float) -> str:
        return patiently(self.ask, seconds, self.shown.append, self.pauses.append)


def test_a_server_that_is_away_or_overloaded_is_asked_again_and_that_is_shown():
    asked = Asked(AWAY, BUSY, AWAY)
    assert asked.patiently(60) == "answer"
    why = ["no route", "later", "no route"]
    assert asked.shown == [f"waiting for the API server (0 s): {it}" for it in why]
    assert asked.pauses == sorted(asked.pauses)
    assert len(asked.pauses) == 3


@pytest.mark.parametrize("error", [REFUSED, NOT_TRUSTED])
def test_what_does_not_pass_is_raised_at_once(error):
    asked = Asked(error)
    with pytest.raises(type(error), match=str(error)):
        asked.patiently(60)
    assert asked.pauses == []


@pytest.mark.parametrize("error", [AWAY, BUSY])
def test_when_the_time_is_over_the_last_error_is_raised(error):
    asked = Asked(error)
    with pytest.raises(type(error), match=str(error)):
        asked.patiently(0.1)
    assert asked.pauses == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_an_api_server_answers_that_comes_back_passes(status):
    assert ApiError("", status, "").passes
