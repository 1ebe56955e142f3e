"""Which plugins the installed packages ask for: the table of the official host's own tests, and its rules."""

import base64
from typing import Any

import pytest
from toolchain.language_host.plugins import plugin_version, required


@pytest.mark.parametrize(
    ("package", "plugin"),
    [
        ("1", "1.0.0"),
        ("1.0", "1.0.0"),
        ("1.2.3", "1.2.3"),
        ("1.2.3a4", "1.2.3-alpha.4"),
        ("1.2.3b4", "1.2.3-beta.4"),
        ("1.2.3rc4", "1.2.3-rc.4"),
        ("1.2b3", "1.2.0-beta.3"),
        ("1.2.3.post4", "1.2.3+post4"),
        ("1.2.3.dev5", "1.2.3+dev5"),
        ("1.2.3.post4.dev5", "1.2.3+post4dev5"),
        ("4.3.2.1", "4.3.2.1"),
        ("", None),
        ("1!2.3", None),
        ("1.2.3junk", None),
        ("abc", None),
    ],
)
def test_a_package_version_becomes_a_plugin_version(package: str, plugin: str | None) -> None:
    assert plugin_version(package) == plugin


def package(name: str, version: str = "1.2.3", plugin: Any = None) -> dict[str, Any]:
    return {"name": name, "version": version, "plugin": plugin}


def test_only_packages_with_a_plugin_count() -> None:
    found = required(
        [
            package("numpy"),
            package("pulumi"),
            package("pulumi-policy"),
            package("pulumi-aws", "6.1.0"),
            package("pulumi-quiet", plugin={"resource": False}),
            package("anything", plugin={"resource": True, "name": "thing", "version": "v9.8.7", "server": "https://example.com"}),
            package("pulumi-nightly", "1.0junk"),
        ]
    )
    assert [(one.name, one.version, one.kind, one.server) for one in found] == [
        ("aws", "v6.1.0", "resource", ""),
        ("thing", "v9.8.7", "resource", "https://example.com"),
    ]


def test_parameters_are_handed_on() -> None:
    value = base64.b64encode(b"schema").decode()
    content = {"resource": True, "name": "base", "version": "1.0.0", "parameterization": {"name": "p", "version": "2.0.0", "value": value}}
    [found] = required([package("pulumi-p", plugin=content)])
    assert (found.parameterization.name, found.parameterization.version, found.parameterization.value) == ("p", "2.0.0", b"schema")
    assert not found.HasField("extension")
