"""From a fleet's arguments and its releases to when devices ask the cloud role, and what that brings."""

import math
from collections.abc import Mapping

from isthmus.arguments.components import EdgeSettings
from isthmus.errors import GateError, Problem
from isthmus.offload.plan import MILLION, Costs, OffloadPlan, plan_offload
from isthmus.offload.rows import rows_of
from isthmus.release.confidences import LEAST_EXAMPLES, Confidences
from isthmus.release.manifest import SERVING, Release
from isthmus.sizing.cost import PriceTable


def offload_plans(args: EdgeSettings, releases: Mapping[str, Release], path: str, server_kind: str = "") -> dict[str, OffloadPlan]:
    """By class of devices; empty where they ask nobody, or only where they have no answer. A number that the program gives stands also
    where nothing was measured: then there is no table for that class.

    Args:
        releases: by class.
        path: property path of the arguments, for messages.
        server_kind: of the cloud role's servers; without a price (or empty) their time costs nothing.

    Raises:
        GateError: `auto` is asked for, and a release does not say how sure its answers are, or no threshold keeps `max_device_error`.
    """
    if args.fallback_url is None or args.min_confidence is None:
        return {}
    found: dict[str, OffloadPlan] = {}
    problems: list[Problem] = []
    for name, release in releases.items():
        calibration, measured = release.manifest.calibration, release.record.confidences
        if calibration is not None and measured is not None:
            costs = _costs(release, args.price_table(), server_kind)
            plan = plan_offload(calibration, measured, costs, _number(args), max_error=args.max_device_error)
            if plan is None:
                problems.append(_unkept(args.max_device_error or 0.0, release, measured, f"{path}.max_device_error"))
            else:
                found[name] = plan
        elif args.seeks_confidence:
            problems.append(_unknown(release, f"{path}.min_confidence"))
    if problems:
        raise GateError(list(dict.fromkeys(problems)))
    return found


def measured_plan(args: EdgeSettings, release: Release) -> OffloadPlan | None:
    """What devices with this release pass on, counted on the evaluation data, without its costs; None: nothing, or it is not known."""
    calibration, measured = release.manifest.calibration, release.record.confidences
    if args.min_confidence is None or calibration is None or measured is None:
        return None
    return plan_offload(calibration, measured, Costs(0.0), _number(args), max_error=args.max_device_error)


def _number(args: EdgeSettings) -> float | None:
    """The threshold that the program gives; None: it is to be found."""
    return None if args.seeks_confidence or args.min_confidence is None else float(args.min_confidence)


def _costs(release: Release, prices: PriceTable, server_kind: str) -> Costs:
    cloud_ms = release.record.timing(SERVING).mean_ms
    per_request = prices.servers.get(server_kind, 0.0) * cloud_ms / 3_600_000 + prices.per_million_requests / MILLION
    return Costs(cloud_ms, per_request, prices.per_gigabyte_shipped, prices.currency)


def _unkept(most: float, release: Release, measured: Confidences, where: str) -> Problem:
    last = rows_of(measured.groups)[-1]
    least = (last.kept_wrong + 1) / (last.examples + 1)
    what = f"at no threshold devices are known to keep {100 * most:.3g} % with {release.digest[:19]}…: at the highest they answer "
    what += f"{last.kept_wrong} of {last.examples} held-out examples wrong by themselves"
    return Problem(where, what, f"{math.ceil(10_000 * least) / 10_000:g} or more", "raise it, or hold out more examples")


def _unknown(release: Release, where: str) -> Problem:
    manifest, expected = release.manifest, "a release that says how sure its answers are, beside its serving variant"
    if not manifest.evaluation_examples:
        what, fix = "its source has no evaluation data", "put an evaluation.npz (x, y) into the model folder"
    elif not manifest.has(SERVING):
        what, fix = "it has no serving variant that could be asked", "name the model that the file was converted from"
    elif manifest.calibration is None and len(manifest.outputs) > 1:
        what, fix = f"it has {len(manifest.outputs)} outputs, and devices say of one how sure they are", "serve the scores alone"
    else:
        what = "an earlier version made it, or it answers no scores of two classes or more, or fewer than "
        what += f"{LEAST_EXAMPLES} examples were held out"
        fix = "name the model's source instead of a digest, so that it is compiled anew"
    return Problem(where, f"auto cannot choose for {release.digest[:19]}…: {what}", expected, f"{fix}; or give a number")
