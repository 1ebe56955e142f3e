"""Which variant the devices of a class get: the best that fits, whatever other classes there are."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import GateError
from isthmus.sizing.classes import BUNDLES_KEPT, SERVER_BYTES, Choice, DeviceClass, Offer, choose

MB = 10**6
NAMES = ("small", "large", "*")


def offer(recipe: str = "int8", device_class: str = "*", **said: object) -> Offer:
    found = Offer(
        device_class, f"sha256:{recipe}", recipe, 2 * MB, MB, 3 * MB, ("CONV_2D", "SOFTMAX"), 2.0, "x86_64", 0.98, "fleets.x.variants[0]"
    )
    return replace(found, **said)  # type: ignore[arg-type]


INT8 = offer()
FLOAT16 = offer("float16", bundle_bytes=20 * MB, shipped_bytes=18 * MB, memory_bytes=30 * MB, p95_ms=4.0, accuracy=0.99)
SMALL = DeviceClass("small", 60 * MB, 200 * MB, "arm64", frozenset({"CONV_2D", "SOFTMAX"}), 8.0)


def chosen(given: DeviceClass, *offers: Offer, objective_ms: float | None = None) -> Choice:
    (found,) = choose([given], offers, "fleets.x", objective_ms)
    return found


def refused(given: DeviceClass, *offers: Offer, objective_ms: float | None = None) -> str:
    with pytest.raises(GateError) as caught:
        chosen(given, *offers, objective_ms=objective_ms)
    return str(caught.value)


def test_the_more_accurate_variant_is_for_devices_that_it_fits() -> None:
    assert chosen(DeviceClass("large"), INT8, FLOAT16).explain().splitlines() == [
        "large: float16 (nothing is known of what they have)",
        "  better than int8: accuracy 99 % against 98 %",
    ]


def test_a_smaller_one_is_for_those_that_it_does_not_fit_and_the_reason_has_the_numbers() -> None:
    found = chosen(SMALL, INT8, FLOAT16, objective_ms=20)
    assert found.offer is INT8
    assert found.reasons == (
        "small: int8 (47 MB of memory, of 60 MB, 7 MB of storage, of 200 MB, all of its 2 operators, p95 16 ms (2 ms × 8), of 20 ms)",
        "  float16 does not fit: 74 MB of memory, of 60 MB, p95 32 ms (4 ms × 8), of 20 ms",
    )


@pytest.mark.parametrize(
    ("given", "found", "said"),
    [
        (
            replace(SMALL, memory_bytes=46 * MB),
            INT8,
            "int8 needs 47 MB of memory, of 46 MB; expected a variant that fits them. Fix: raise classes.small.memory_megabytes, or offer",
        ),
        (
            replace(SMALL, storage_bytes=6 * MB),
            INT8,
            "int8 needs 7 MB of storage, of 6 MB; expected a variant that fits them. Fix: raise classes.small.storage_megabytes",
        ),
        (
            replace(SMALL, operators=frozenset({"CONV_2D"})),
            INT8,
            "int8 needs the operator SOFTMAX, which they do not have; expected a variant that fits them. Fix: add it to classes.small.op",
        ),
        (SMALL, offer(operators=("CONV_2D", "Mine", "TANH")), "int8 needs the operators Mine, TANH, which they do not have"),
        (
            SMALL,
            offer(p95_ms=3.0),
            "int8 needs p95 24 ms (3 ms × 8), of 20 ms; expected a variant that fits them. Fix: offer class",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_numbers_and_a_way_out(given: DeviceClass, found: Offer, said: str) -> None:
    assert refused(given, found, objective_ms=20).startswith(f"fleets.x.variants[0]: devices of class small: {said}")


def test_of_several_that_do_not_fit_each_is_said() -> None:
    tiny = replace(SMALL, memory_bytes=45 * MB)
    assert "int8 needs 47 MB of memory, of 45 MB; float16 needs 74 MB of memory, of 45 MB" in refused(tiny, INT8, FLOAT16)


def test_a_variant_that_names_a_class_is_for_it_alone_and_nothing_else_is() -> None:
    own = replace(INT8, device_class="small")
    assert chosen(replace(SMALL, memory_bytes=None), own, FLOAT16).offer is own
    assert chosen(DeviceClass("large"), own, FLOAT16).offer is FLOAT16
    assert refused(DeviceClass("large"), own).startswith("fleets.x.variants: no variant is for devices of class large")


def test_the_speed_of_another_machine_is_not_guessed() -> None:
    found = chosen(replace(SMALL, speed_factor=None), INT8, objective_ms=1)
    assert "p95 not known without a speed_factor: it was measured on x86_64, and theirs is arm64" in found.explain()


def test_a_model_whose_memory_is_not_known_says_so() -> None:
    assert "44 MB of memory and what the model adds, which is not known, of 60 MB" in chosen(SMALL, offer(memory_bytes=0)).explain()


def test_of_equals_the_first_is_taken() -> None:
    found = chosen(DeviceClass("large"), INT8, replace(INT8, recipe="int8 again"))
    assert (found.offer, found.reasons[1]) == (INT8, "  better than int8 again: it is named first")


MAYBE = st.none() | st.sampled_from([10.0 * MB, 50.0 * MB, 80.0 * MB, 500.0 * MB])
OPERATORS = st.frozensets(st.sampled_from(["CONV_2D", "SOFTMAX", "TANH"]))
CLASSES = st.lists(
    st.builds(DeviceClass, st.sampled_from(NAMES), MAYBE, MAYBE, st.none(), st.none() | OPERATORS, st.none() | st.sampled_from([1.0, 8.0])),
    unique_by=lambda it: it.name,
    min_size=1,
)
OFFERS = st.lists(
    st.builds(
        Offer,
        st.sampled_from(NAMES),
        st.text("0123456789abcdef", min_size=4, max_size=4),
        st.sampled_from(["int8", "int4", "float16"]),
        st.integers(1, 60 * MB),
        st.integers(1, 60 * MB),
        st.integers(0, 60 * MB),
        OPERATORS.map(sorted).map(tuple),
        st.sampled_from([0.5, 2.0, 30.0]),
        st.just("x86_64"),
        st.none() | st.sampled_from([0.9, 0.95]),
        st.just("fleets.x.variants[0]"),
    ),
    max_size=5,
)
OBJECTIVE = st.none() | st.just(10.0)


def decided(given: DeviceClass, offers: list[Offer], objective_ms: float | None) -> Offer | None:
    try:
        return chosen(given, *offers, objective_ms=objective_ms).offer
    except GateError:
        return None


def fits(given: DeviceClass, it: Offer, objective_ms: float | None) -> bool:
    return (
        (given.memory_bytes is None or SERVER_BYTES + it.memory_bytes <= given.memory_bytes)
        and (given.storage_bytes is None or BUNDLES_KEPT * it.bundle_bytes + it.shipped_bytes <= given.storage_bytes)
        and (given.operators is None or given.operators >= {*it.operators})
        and (given.speed_factor is None or objective_ms is None or given.speed_factor * it.p95_ms <= objective_ms)
    )


@settings(max_examples=60)
@given(CLASSES, OFFERS, OBJECTIVE)
def test_a_class_that_is_added_changes_no_other_classs_choice(
    classes: list[DeviceClass], offers: list[Offer], objective: float | None
) -> None:
    alone = [decided(it, offers, objective) for it in classes]
    if None in alone:
        with pytest.raises(GateError) as caught:
            choose(classes, offers, "fleets.x", objective)
        assert len(caught.value.problems) == alone.count(None)
    else:
        assert [it.offer for it in choose(classes, offers, "fleets.x", objective)] == alone


@settings(max_examples=60)
@given(CLASSES, OFFERS, OBJECTIVE)
def test_whoever_is_chosen_fits_and_who_is_refused_has_nothing_that_does(
    classes: list[DeviceClass], offers: list[Offer], objective: float | None
) -> None:
    for given_class in classes:
        own = [it for it in offers if it.device_class == given_class.name] or [it for it in offers if it.device_class == "*"]
        found = decided(given_class, offers, objective)
        assert (found is not None) == any(fits(given_class, it, objective) for it in own)
        assert found is None or (found in own and fits(given_class, found, objective))


@settings(max_examples=60)
@given(CLASSES, OFFERS, OBJECTIVE, st.sampled_from(["memory_bytes", "storage_bytes", "operators", "speed_factor"]))
def test_devices_that_can_do_more_never_get_a_less_accurate_variant(
    classes: list[DeviceClass], offers: list[Offer], objective: float | None, what: str
) -> None:
    before, after = decided(classes[0], offers, objective), decided(replace(classes[0], **{what: None}), offers, objective)
    if before is not None:
        assert after is not None
        assert (after.accuracy or 0) >= (before.accuracy or 0)
