import pytest

from isthmus.plugin.schema import Property, ResourceSpec, package_schema, problems
from isthmus.plugin.values import UNKNOWN
from isthmus.provider.registry import HANDLERS

SPEC = ResourceSpec(
    "Thing",
    "a thing",
    inputs={
        "name": Property("string", "the name"),
        "count": Property("integer", "how many", default=1, minimum=1, maximum=9),
        "on": Property("boolean", "whether", required=False),
        "sizes": Property("object", "sizes", required=False, items=Property("number", "a size", minimum=0)),
        "where": Property("object", "where", required=False, fields={"host": Property("string", "the host")}),
    },
)


def test_everything_that_is_wrong_is_said_at_once_with_its_path() -> None:
    found = problems(SPEC, {"nme": "x", "count": 0, "on": 1, "sizes": {"a": -1, "b": "big"}, "where": {}})
    assert {problem.path for problem in found} == {"nme", "name", "count", "on", "sizes.a", "sizes.b", "where.host"}


def test_what_is_not_known_yet_is_not_judged() -> None:
    assert problems(SPEC, {"name": UNKNOWN, "count": UNKNOWN, "sizes": {"a": UNKNOWN}, "where": UNKNOWN}) == []


def test_true_is_no_number_and_one_is_not_true() -> None:
    assert [p.path for p in problems(SPEC, {"name": "x", "count": True, "on": 1})] == ["count", "on"]


def test_a_wrong_value_is_not_quoted_since_it_may_be_a_secret() -> None:
    assert "hunter" not in str(problems(SPEC, {"name": ["hunter"]})[0])


def test_the_package_schema_describes_every_resource() -> None:
    schema = package_schema("isthmus", "1.2.3", [handler.spec for handler in HANDLERS.values()])
    assert set(schema["resources"]) == set(HANDLERS)
    for resource in schema["resources"].values():
        assert resource["description"]
        for prop in {**resource["inputProperties"], **resource["properties"]}.values():
            assert prop["description"]
            assert prop.get("type") or prop["$ref"].removeprefix("#/types/") in schema["types"]
    former = schema["resources"]["isthmus:index:SigningKey"]
    assert former["properties"]["private_key"]["secret"]
    assert "secret" not in former["properties"]["public_key"]
    assert "FleetRepository" in former["deprecationMessage"]


@pytest.mark.parametrize("kind", ["Bucket", "PublishedRelease", "FleetRepository", "FleetWave", "LocalDevices", "DockerModelFolder"])
def test_a_stores_keys_are_declared_as_secrets_and_nothing_else_of_it_is(kind: str) -> None:
    spec = HANDLERS[f"isthmus:index:{kind}"].spec
    assert {path for path in spec.secret_paths if path[0] == "store"} == {("store", "access_key"), ("store", "secret_key")}
    schema = package_schema("isthmus", "1.2.3", [spec])
    resource = schema["resources"][f"isthmus:index:{kind}"]
    for side in ("inputProperties", "properties"):
        assert resource[side]["store"]["$ref"] == f"#/types/isthmus:index:{kind}Store"
    fields = schema["types"][f"isthmus:index:{kind}Store"]["properties"]
    assert {name for name, prop in fields.items() if prop.get("secret")} == {"access_key", "secret_key"}


def test_objects_in_objects_have_types_of_their_own() -> None:
    inner = Property("object", "the inner", fields={"key": Property("string", "a key", secret=True)})
    spec = ResourceSpec(
        "Thing", "a thing", inputs={"list_of": Property("array", "many", items=Property("object", "one", fields={"in_it": inner}))}
    )
    schema = package_schema("p", "1.0.0", [spec])
    assert schema["resources"]["p:index:Thing"]["inputProperties"]["list_of"]["items"] == {"$ref": "#/types/p:index:ThingListOf"}
    assert schema["types"]["p:index:ThingListOf"]["properties"]["in_it"]["$ref"] == "#/types/p:index:ThingListOfInIt"
    assert schema["types"]["p:index:ThingListOfInIt"]["properties"]["key"]["secret"]
