"""What a stack has, by the names that its user knows."""

from isthmus.deployed import by_name

HYBRID = "urn:pulumi:prod::p::isthmus:index:HybridDeployment"


def test_a_hybrids_parts_have_its_name_wherever_they_are_nested():
    found = by_name(
        {
            "urn:pulumi:prod::p::isthmus:index:CloudModelService::one": {"endpoint": "a"},
            "urn:pulumi:prod::p::acme:index:Platform$isthmus:index:CloudModelService::two-cloud": {"endpoint": "b"},
            f"{HYBRID}$isthmus:index:CloudModelService::three-cloud": {"endpoint": "c"},
            f"{HYBRID}$isthmus:index:EdgeFleetRollout::three-edge": {"devices": {}},
            f"{HYBRID}$isthmus:index:EdgeFleetRollout$isthmus:index:FleetWave::three-edge": {"number": 1},
            "urn:pulumi:prod::p::isthmus:index:EdgeFleetRollout::never-made": {},
        }
    )
    assert {name: it["endpoint"] for name, it in found["services"].items()} == {"one": "a", "two-cloud": "b", "three": "c"}
    assert set(found["fleets"]) == {"three"}
