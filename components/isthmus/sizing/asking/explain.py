"""Each number of a plan: its formula, what goes in, what comes out. The same arithmetic as the plan, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.sizing.cost import HOURS_PER_MONTH
from isthmus.sizing.devices import DevicePlan
from isthmus.sizing.service import ServicePlan
from isthmus.words import money
from isthmus_agent.formats import digests

_P95 = {
    "M/M/c": "95 % of e^(−μt) + C·μ·(e^(−μt) − e^(−θt))/(θ − μ), θ = cμ − λ, C: Erlang C",
    "M/G/c": "95 % of service time (fitted to 1/μ and scv) + wait (Erlang C, Tijms)",
}
_SPLIT = "95 % of Σ x_i·(1 − e^(−(p_i − λx_i)t)), x_i: weight of Σ weights"


@dataclass(frozen=True)
class Explanation:
    """One number. inputs: with their values and units."""

    number: str
    formula: str
    inputs: str
    result: str


def explain_service(plan: ServicePlan, outputs: Mapping[str, Any]) -> list[Explanation]:
    """Of a service. outputs: the component's output `plan`, for what was measured of the release."""
    inputs, part = plan.inputs, plan.part
    rate, mu, scv = inputs.requests_per_second, inputs.service_rate_per_second, inputs.scv
    source = f"measured on {inputs.measured_on}" if inputs.measured_on else "profile"
    found = [
        *_of_release(outputs),
        Explanation("μ, service rate", "1000 / mean service time", f"{1000 / mu:.4g} ms ({source})", f"{mu:.4g}/s"),
    ]
    if plan.equal:
        equal, less = plan.equal, plan.equal.p95_with_one_less_ms
        one_less = "" if equal.replicas == 1 else "cannot keep up" if less is None else f"p95 {less:.2f} ms"
        found += [
            Explanation("scv", "variance / mean² of the service time", "measured" if scv != 1 else "exponential times", f"{scv:g}"),
            Explanation("a, offered load", "λ / μ", f"λ {rate:g}/s, μ {mu:.4g}/s", f"{rate / mu:.4g}"),
            Explanation(
                "replicas c",
                "the fewest whose p95 keeps the objective in each case",
                f"objective {inputs.p95_ms:g} ms, {inputs.min_replicas} to {inputs.max_replicas}"
                + (f"; with {equal.replicas - 1}: {one_less}" if one_less else ""),
                f"{equal.replicas} ({equal.bound})",
            ),
            *(
                Explanation(
                    f"  {case.name}",
                    "the fewest of which enough still serve",
                    f"{case.requests_per_second:g}/s, {case.serving} of {equal.replicas} serve: p95 {case.p95_ms:.2f} ms",
                    str(case.needed),
                )
                for case in equal.cases[1:]
            ),
            Explanation("utilisation", "λ / (c·μ)", f"{rate:g} / ({equal.replicas} · {mu:.4g})", f"{equal.utilisation:.1%}"),
        ]
    elif plan.unequal:
        speeds = ", ".join(f"{p:.4g}/s" for p in plan.unequal.service_rates_per_second)
        found += [
            Explanation("weights", f"{plan.formula} (docs/formulas.md)", f"p = {speeds}", " : ".join(str(it) for it in plan.weights)),
            Explanation("utilisation", "max λ·x_i / p_i", f"λ {rate:g}/s", f"{part.utilisation:.1%}"),
        ]
    formula = _P95.get(plan.formula, _SPLIT)
    given = f"λ {rate:g}/s, μ {mu:.4g}/s" + (f", c {plan.replicas}, scv {scv:g}" if plan.equal else "")
    found += [
        Explanation("p50", formula.replace("95", "50", 1), given, f"{part.p50_ms:.2f} ms"),
        Explanation("p95", formula, given, f"{part.p95_ms:.2f} ms"),
    ]
    if plan.autoscaling:
        scaler = plan.autoscaling
        found.append(
            Explanation(
                "autoscaler's target",
                "highest load at which min_replicas keep the objective / (1 + tolerance)",
                f"min {scaler.min_replicas}, max {scaler.max_replicas}, tolerance {scaler.tolerance:g}",
                f"{scaler.target_percent} %, at rest {scaler.planned_replicas}",
            )
        )
    if plan.devices:
        found += _of_devices(plan.devices, rate)
    lines = [f"{line.quantity:,.6g} {line.unit} × {line.price:g}" for line in plan.cost.lines]
    cost = f"Σ servers × {HOURS_PER_MONTH} h × price + requests × price, prices of {plan.cost.prices_as_of.isoformat()}"
    found.append(Explanation("a month", cost, " + ".join(lines) or "nothing", f"{money(plan.cost.total)} {plan.cost.currency}"))
    return found


def _of_devices(devices: DevicePlan, others_per_second: float) -> list[Explanation]:
    found, known = list[Explanation](), devices.offload
    if load := devices.load:
        given = f"N {known.devices}, p {known.unsure_share:g}, ρ {known.correlation:g}, {load.requests_per_second_per_device:.4g}/s each"
        by = "beta-binomial" if known.simulated_devices is None else "simulation of the devices' policies"
        formula = f"{by}, {known.quantile_percent:g} % quantile × requests per device (docs/replicas.md)"
        found.append(
            Explanation("devices' requests", formula, given, f"{load.quantile_per_second:.4g}/s, mean {load.mean_per_second:.4g}/s")
        )
    formula = "the most that may always be there while the others keep their p95, 1 at the least (docs/replicas.md)"
    return [*found, Explanation("devices at a time", formula, f"others {others_per_second:g}/s", str(devices.in_flight))]


def explain_fleet(outputs: Mapping[str, Any]) -> list[Explanation]:
    """Of a fleet. outputs: the component's output `plan`."""
    plan = outputs
    return [
        *_of_release(plan),
        Explanation("p95", "95 % of runs with one example on one thread", f"measured on {plan['measured_on']}", f"{plan['p95_ms']:g} ms"),
        *(
            Explanation(
                f"variant for {it['class']}",
                "the most accurate that fits; then the fastest, the smallest",
                "; ".join(line.strip() for line in it["reasons"]),
                digests.shown(it["digest"]),
            )
            for it in plan.get("variants") or ()
        ),
        *_of_offload(plan.get("offload")),
        Explanation(
            "a month",
            "bytes of the bundle / 10⁹ × devices × releases × price of a GB",
            f"{int(plan['bundle_bytes']):,} bytes as shipped, {int(plan['devices'])} devices, {plan['releases_per_month']:g} releases, "
            f"{plan['price_per_gigabyte_shipped']:g}/GB, prices of {plan['prices_as_of']}",
            f"{money(plan['cost_per_month'])} {plan['currency']}",
        ),
    ]


def _of_offload(offload: Mapping[str, Any] | None) -> list[Explanation]:
    """When devices ask the cloud role. None: nothing was measured, or they ask nobody."""
    if not offload:
        return []
    chosen = next(it for it in offload["rows"] if it["is_chosen"])
    errors = f"expected calibration error {offload['raw_calibration_error']:.2%} as it is, {offload['calibration_error']:.2%} calibrated"
    return [
        Explanation(
            "temperature T",
            "least Σ −log softmax(z / T)_y",
            f"{int(offload['examples'])} held-out examples; {errors}",
            f"{offload['temperature']:g}",
        ),
        Explanation(
            "min_confidence",
            "largest of softmax(z / T), below it the cloud role is asked",
            offload["reason"],
            f"{offload['min_confidence']:.7g}",
        ),
        Explanation(
            "passed on",
            "examples below min_confidence / all",
            f"accuracy {chosen['accuracy']:.2%}, against the device alone {chosen['gain']:+.2%} "
            f"({chosen['gain_low']:+.2%} to {chosen['gain_high']:+.2%})",
            f"{chosen['share']:.2%}",
        ),
    ]


def _of_release(outputs: Mapping[str, Any]) -> list[Explanation]:
    accuracy = outputs.get("accuracy")
    examples = int(outputs.get("evaluation_examples") or 0)
    return [
        Explanation(
            str(outputs.get("metric") or "accuracy"),
            "share answered right, or the metric that the evaluation data names",
            f"{examples} held-out examples",
            "unknown" if accuracy is None else f"{100 * accuracy:.2f} %",
        ),
        Explanation(
            "MB", "bytes of the variant's files / 10⁶", f"recipe {outputs.get('recipe', '')}", f"{outputs['size_bytes'] / 1e6:.4g}"
        ),
    ]
