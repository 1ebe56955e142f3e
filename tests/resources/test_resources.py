"""The two halves of each custom resource: the class that programs use, and the handler's table of properties."""

import inspect
from typing import Any

import pulumi
import pytest

from isthmus import resources
from isthmus.plugin.schema import ResourceSpec
from isthmus.provider.registry import HANDLERS
from isthmus.resources.base import Resource

GIVEN_BY_ITSELF = {"owner"}
# A program makes none of those that are made no more.
SPECS = [handler.spec for handler in HANDLERS.values() if not handler.spec.deprecated]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_program_sees_what_the_handlers_table_has(spec: ResourceSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = getattr(resources, spec.name)
    parameters = {name: it for name, it in inspect.signature(kind).parameters.items() if name not in ("name", "opts")}
    own = {name: it for name, it in spec.inputs.items() if not name.startswith("__")}
    assert set(own) - set(parameters) <= GIVEN_BY_ITSELF
    assert set(parameters) <= set(own)
    for name, it in own.items():
        if name not in parameters:
            continue
        default = parameters[name].default
        if default is not inspect.Parameter.empty:  # what a program may leave out the table may be without, or it has the same default
            assert not it.required or it.default is not None, name
            assert default in (None, "", it.default), name
    given: dict[str, Any] = {}
    monkeypatch.setattr(
        pulumi.CustomResource, "__init__", lambda self, token, name, props, opts: given.update(token=token, props=props, opts=opts)
    )
    kind("it", **dict.fromkeys(parameters, "given"))
    assert given["token"] == f"isthmus:index:{spec.name}"
    assert set(given["props"]) == {*own, *spec.outputs}
    assert set(kind.__annotations__) <= set(spec.outputs) | set(own)
    secret = {name for name, it in {**own, **spec.outputs}.items() if it.secret}
    assert set(given["opts"].additional_secret_outputs or ()) == secret


def test_every_resource_has_a_handler() -> None:
    classes = {name for name in resources.__all__ if isinstance(it := getattr(resources, name), type) and issubclass(it, Resource)}
    assert classes == {spec.name for spec in SPECS}
