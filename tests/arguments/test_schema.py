"""What a program may write, and what other languages read of it as a schema, is what is checked."""

import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pulumi.provider.experimental.analyzer import Analyzer
from pydantic import BaseModel

from isthmus.arguments.components import CloudSettings, EdgeSettings, HybridSettings
from isthmus.cloud import CloudModelService, CloudModelServiceArgs
from isthmus.edge import EdgeFleetRollout, EdgeFleetRolloutArgs
from isthmus.hybrid import HybridDeployment, HybridDeploymentArgs
from isthmus.platforms.rules import with_platforms

PAIRS = [(CloudModelServiceArgs, CloudSettings), (EdgeFleetRolloutArgs, EdgeSettings), (HybridDeploymentArgs, HybridSettings)]


def parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in typing.get_args(annotation):
        yield from parts(part)


def inside(annotation: Any) -> Any:
    """The mapping of arguments in an annotation; None where there is none."""
    known = (it for it in parts(annotation) if typing.is_typeddict(it) or (isinstance(it, type) and issubclass(it, BaseModel)))
    return next(known, None)


def differences(written: Any, checked: type[BaseModel], where: str) -> Iterator[str]:
    hints = written.__annotations__  # of all that it is made from, too
    fields = {field.alias or name: field.annotation for name, field in checked.model_fields.items()}
    yield from (f"{where}.{name}" for name in sorted(hints.keys() ^ fields.keys()))
    for name in hints.keys() & fields.keys():
        if inside(hints[name]) and inside(fields[name]):
            yield from differences(inside(hints[name]), inside(fields[name]), f"{where}.{name}")


@pytest.mark.parametrize(("written", "checked"), PAIRS, ids=lambda it: it.__name__)
def test_every_argument_is_written_and_checked_under_one_name(written: Any, checked: Any) -> None:
    assert list(differences(written, with_platforms(checked), checked.__name__)) == []


def test_pulumi_can_read_all_of_it() -> None:
    found = Analyzer("isthmus").analyze([CloudModelService, EdgeFleetRollout, HybridDeployment])
    wave = found["type_definitions"]["WaveArgs"].properties
    assert {"name", "percent", "count", "group", "labels", "devices", "gate", "mostPerMinute"} == wave.keys()
    assert {"from", "to", "jitterSeconds"} == found["type_definitions"]["WindowArgs"].properties.keys()
    assert {"class", "recipe"} == found["type_definitions"]["VariantArgs"].properties.keys()
