"""A HybridDeployment's situation has the advisor's inputs, all of them."""

from isthmus.arguments.mode import SituationArgs
from isthmus.sizing.advisor.inputs import INPUTS


def test_a_situation_has_every_input_of_the_advisor_and_a_preset() -> None:
    assert set(SituationArgs.__annotations__) == {"preset", *INPUTS}
