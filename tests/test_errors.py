"""How a place in the input is spelled in messages."""

from isthmus.errors import property_path


def test_property_paths_are_spelled_as_pulumi_does() -> None:
    assert property_path(("files", "a.json", 0, "port")) == 'files["a.json"][0].port'


def test_a_path_goes_on_from_one_that_is_spelled() -> None:
    assert property_path(("hosts", 0), "services.digits.docker") == "services.digits.docker.hosts[0]"
    assert property_path((0, "a b"), "hosts") == 'hosts[0]["a b"]'
    assert property_path((), "hosts") == "hosts"
