"""What the advisor is told by a program, and by what was measured when its model had been compiled."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from isthmus.arguments.components import CloudSettings, HybridSettings
from isthmus.errors import InputError, Problem
from isthmus.names import MAY_LEAVE_DEVICE
from isthmus.platforms.rules import kind_of_server
from isthmus.sizing.advisor.advice import Advice, advise
from isthmus.sizing.advisor.inputs import INPUTS
from isthmus.sizing.advisor.presets import situation_with
from isthmus.sizing.advisor.requirements import Mode


def advice_of(
    args: HybridSettings, written: Collection[str], servers: CloudSettings | None, devices: int, path: str
) -> tuple[Advice | None, list[Problem]]:
    """What the advisor says of the program's situation, or what is wrong with that; neither where the program describes none.

    Args:
        written: the arguments that the program gives; what is left at a default goes behind a preset.
        servers: the cloud role's arguments, where there are any.
        devices: of the fleet file; 0 where they are elsewhere.
        path: property path of the arguments.
    """
    if args.situation is None:
        return None, []
    given, where = dict(args.situation), f"{path}.situation"
    try:
        situation = situation_with(given.pop("preset", None), {**_said(args, written, servers, devices), **given}, where)
    except InputError as error:
        return None, list(error.problems)
    return advise(situation, where), []


def _said(args: HybridSettings, written: Collection[str], servers: CloudSettings | None, devices: int) -> Mapping[str, Any]:
    """The advisor's inputs that the program says elsewhere."""
    found: dict[str, Any] = {name: getattr(args, name) for name in ("p95_ms", "releases_per_month") if name in written}
    if args.edge_requests_per_second:
        found["requests_per_second"] = args.edge_requests_per_second
    if devices:
        found["devices"] = devices
    if args.data is not None:
        found["data_must_stay"] = args.data != MAY_LEAVE_DEVICE
    if args.prices is not None:
        prices = args.price_table()
        found["price_per_gb_shipped"] = prices.per_gigabyte_shipped
        if servers is not None:
            found["price_per_server_hour"] = prices.servers[kind_of_server(servers)]
    return found


def otherwise(advice: Advice, taken: Mode, measured: Mapping[str, float]) -> Advice | None:
    """What the advisor says with the figures that were measured, where that is another mode than the one that was taken; else None.

    measured: by the advisor's inputs.
    """
    bounds = {name: INPUTS[name].metadata for name in measured}
    bounded: dict[str, Any] = {name: min(max(value, bounds[name]["least"]), bounds[name]["most"]) for name, value in measured.items()}
    found = advise(replace(advice.situation, **bounded))
    return found if found.mode != taken else None


def measured_by(cloud: Mapping[str, Any] | None, edge: Mapping[str, Any] | None) -> Mapping[str, float]:
    """The advisor's inputs that are known from the plans (outputs `plan`) of the parts that there are."""
    found: dict[str, float] = {}
    if cloud is not None:
        if rate := cloud.get("service_rate_per_second"):
            found["cloud_service_ms"] = 1000 / rate
        found["cloud_service_p95_ms"] = cloud["p95_ms"]
    if edge is not None:
        found["device_p95_ms"], found["model_bytes"] = edge["p95_ms"], edge["size_bytes"]
        if offload := edge.get("offload"):
            found["unsure_percent"] = 100 * next(row["share"] for row in offload["rows"] if row["is_chosen"])
    return found
