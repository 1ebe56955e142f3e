"""The language of recipes: what is right comes back in one canonical text, what is wrong is said all at once."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.compile.recipes import (
    AUTO,
    FASTEST,
    FLOAT32,
    MOST_CANDIDATES,
    RECIPES,
    SERVING_ONLY,
    SMALLEST,
    STORAGE,
    STRUCTURE,
    Recipe,
    candidates,
    parse,
)
from isthmus.errors import InputError

PATH = "digits.recipe"


def problems(value: object) -> list[str]:
    recipe, found = parse(value, PATH)
    assert (recipe is None) == bool(found)
    return [str(problem) for problem in found]


def percents(name: str, low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(lambda number: f"{name}{number}%")


DISTIL = st.one_of(st.just("distil"), percents("distil:", 10, 90), st.sampled_from(["distil:student", "distil:small_2"]))
FILTERS = st.one_of(st.just("prune-filters"), percents("prune-filters:", 1, 90))
WIDTH, RANK = percents("slim:width=", 10, 95), percents("slim:rank=", 50, 100)
PRUNE = st.one_of(st.just("prune"), percents("prune:", 1, 99))


@st.composite
def right_steps(draw: st.DrawFn) -> list[str]:
    """Steps that go together, in an order that is right."""
    slim = draw(st.sampled_from(["none", "plain", "width", "rank"]))
    optional = [draw(st.none() | DISTIL), draw(st.none() | FILTERS)]
    if slim in ("width", "rank"):
        optional.append(draw(WIDTH if slim == "width" else RANK))
    optional.append(draw(st.none() | PRUNE))
    steps = [step for step in optional if step]
    if slim == "plain":
        steps.insert(draw(st.integers(0, len(steps))), "slim")
    storage = draw(st.none() | st.sampled_from(list(STORAGE)))
    return [*steps, *([storage] if storage else [])] or [FLOAT32]


@given(right_steps())
def test_the_canonical_text_of_a_recipe_is_read_as_that_recipe(steps: list[str]) -> None:
    recipe, found = parse(steps, PATH)
    assert recipe is not None, found
    assert parse(recipe.text, PATH) == (recipe, [])
    assert Recipe.of(recipe.text) == recipe


@given(right_steps(), st.data())
def test_blanks_and_lists_change_nothing(steps: list[str], data: st.DataObject) -> None:
    blanks = st.sampled_from(["", " ", "  ", "\n"])
    spaced = "+".join(f"{data.draw(blanks)}{step.replace(':', data.draw(blanks) + ':')}{data.draw(blanks)}" for step in steps)
    assert parse(spaced, PATH) == parse(steps, PATH) == parse(tuple(steps), PATH)


@given(right_steps().filter(lambda steps: len(steps) > 1), st.data())
def test_steps_in_a_wrong_order_are_refused_and_the_fix_is_right(steps: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(steps))
    recipe, found = parse(shuffled, PATH)
    if recipe is None and len(found) == 1:
        fixed, wrong = parse(found[0].fix.removeprefix("write "), PATH)
        assert fixed is not None, (wrong, found)
        assert sorted(step.name for step in fixed.steps) == sorted(step.split(":")[0] for step in steps if step != FLOAT32)


@given(st.one_of(st.text(), st.lists(st.text(), max_size=4), st.recursive(st.none() | st.integers() | st.floats(), st.lists), st.binary()))
def test_anything_else_is_a_problem_and_not_an_error(value: object) -> None:
    recipe, found = parse(value, PATH)
    assert (recipe is None) == bool(found)
    assert all(problem.path.startswith(PATH) for problem in found)


@given(st.lists(st.sampled_from([*RECIPES, "prune:0%", "slim:rank=70%", "int9"]), min_size=1, max_size=5))
def test_whatever_is_accepted_has_its_structure_before_one_storage_and_no_step_twice(steps: list[str]) -> None:
    recipe, _ = parse(steps, PATH)
    if recipe is None:
        return
    names = [step.name for step in recipe.steps]
    assert len(set(names)) == len(names)
    assert [name for name in names if name in STORAGE] in ([], names[-1:])
    assert not {AUTO, SERVING_ONLY} & set(names) or len(names) == 1


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("int8", "int8"),
        ("float32", "float32"),
        ("auto", "auto:smallest"),
        ("auto:fastest", "auto:fastest"),
        (" serving-only ", "serving-only"),
        ("prune", "prune:80%"),
        ("prune + float32", "prune:80%"),
        ("prune:080 + int8", "prune:80%+int8"),
        (["distil", "prune-filters", "int8-static"], "distil:50%+prune-filters:50%+int8-static"),
        ("distil:student+int4", "distil:student+int4"),
        ("slim:rank=90+int4-weights", "slim:rank=90%+int4-weights"),
        (["prune:80% + int8"], None),
        (["prune:80%", "int8"], "prune:80%+int8"),
    ],
)
def test_a_recipe_has_one_text(given: object, text: str | None) -> None:
    recipe, _ = parse(given, PATH)
    assert (recipe and recipe.text) == text


def test_a_recipe_says_what_it_consists_of_and_needs() -> None:
    recipe = Recipe.of("distil:tiny+prune:75%+int8-static")
    assert [(step.name, step.function, step.percent) for step in recipe.structure] == [("distil", "tiny", None), ("prune", "", 75)]
    assert (recipe.storage, recipe.needs_training, recipe.needs_calibration, recipe.is_auto) == ("int8-static", True, True, False)
    trains = [text for text in ("slim", "slim:rank=80%", "slim:width=80%", "int4", "auto") if Recipe.of(text).needs_training]
    assert trains == ["slim:width=80%"]
    assert Recipe.of("slim:rank=80%").steps[0].kind == ("slim", "rank")
    assert Recipe.of("slim:rank=80%").steps[0].percent == 80
    assert Recipe.of("prune").storage == FLOAT32
    assert (Recipe.of("auto").objective, Recipe.of("auto:fastest").objective) == (SMALLEST, FASTEST)


@pytest.mark.parametrize(
    ("given", "where", "said"),
    [
        ("int9", "", "unknown recipe 'int9'; expected one of " + ", ".join(RECIPES) + ". Fix: did you mean 'int8'?"),
        ("INT8", "", "did you mean 'int8'?"),
        ("int8:static", "", "did you mean 'int8-static'?"),
        ("int8_weights", "", "did you mean 'int8-weights'?"),
        ("prune_filters:30%", "", "did you mean 'prune-filters'?"),
        ("pruned:50%", "", "did you mean 'prune'?"),
        ("", "", "an empty step"),
        ("int8+", "", "an empty step"),
        ([], "", "there is no step"),
        (8, "", "found int; expected a recipe such as int8, or a list of steps"),
        (["prune:80%", 8], "[1]", "found int; expected a step such as int8"),
        ([{"prune": "80%"}, "int8"], "[0]", "found a mapping; expected prune:80%. Fix: leave out the blank behind the colon"),
        ("prune:0%", "", "'prune:0%' is not an option of prune; expected prune alone or prune:1% to prune:99%"),
        ("prune:100%", "", "prune:1% to prune:99%"),
        ("prune:0.8", "", "did you mean prune:80%?"),
        ("prune:", "", "'prune:' is not an option of prune"),
        ("prune:٨٠%", "", "is not an option of prune"),
        ("prune-filters:95%", "", "prune-filters:1% to prune-filters:90%"),
        ("distil:5%", "", "distil:10% to distil:90% or distil:FUNCTION of the folder's model.py"),
        ("distil:lambda", "", "is not an option of distil"),
        ("slim:90%", "", "slim alone or slim:rank=50% to slim:rank=100% or slim:width=10% to slim:width=95%"),
        ("slim:rank=20%", "", "slim:rank=50% to"),
        ("float16:half", "", "float16 alone, as it takes no option"),
        ("auto:best", "", "auto alone or auto:smallest or auto:fastest"),
        ("int8+int4", "", "int8 and int4 are 2 ways to store weights"),
        ("int8+int8", "", "int8 stands there twice"),
        (["prune", "prune:50%", "int8"], "[1]", "prune stands there twice; expected each step once. Fix: remove prune:50%"),
        ("auto+int8", "", "auto stands beside other steps"),
        ("int8+serving-only", "", "serving-only stands beside other steps; expected serving-only alone, which makes nothing for devices"),
        ("serving-only:x", "", "serving-only alone, as it takes no option"),
        ("serving_only", "", "did you mean 'serving-only'?"),
        (["int8", "prune"], "[1]", "prune:80% stands behind int8; expected changes of the network before"),
        ("int8+prune", "", "Fix: write prune:80%+int8"),
        ("prune+distil:40%+int8", "", "Fix: write distil:40%+prune:80%+int8"),
        ("prune+prune-filters", "", "prune-filters:50% stands behind prune:80%: it needs the layers as they were built"),
        ("prune+slim:rank=80%", "", "a layer's two factors have none of its zeros; expected slim before prune"),
    ],
)
def test_a_wrong_recipe_is_named_with_what_was_expected(given: object, where: str, said: str) -> None:
    (problem,) = problems(given)
    assert problem.startswith(f"{PATH}{where}: ")
    assert said in problem


def test_everything_that_is_wrong_is_said_at_once() -> None:
    found = problems(["int8", "prune:0%", "distill", "int4"])
    assert [text.split(": ")[0] for text in found] == [f"{PATH}[1]", f"{PATH}[2]", PATH]
    with pytest.raises(InputError, match=r"1\. recipe: .*\n2\. recipe: "):
        Recipe.of("prune:0%+int9")


def test_every_name_has_a_description_and_is_a_recipe_of_its_own() -> None:
    assert [*STORAGE, *STRUCTURE, SERVING_ONLY, AUTO] == list(RECIPES)
    for name, description in RECIPES.items():
        assert len(description) > 20
        assert Recipe.of(name).steps[0].name == name


@pytest.mark.parametrize(("is_keras", "has_training", "has_calibration"), [*itertools.product((False, True), repeat=3)])
@pytest.mark.parametrize("objective", [SMALLEST, FASTEST])
def test_auto_tries_a_bounded_set_of_what_the_source_allows(
    objective: str, is_keras: bool, has_training: bool, has_calibration: bool
) -> None:
    recipe = Recipe.of(f"auto:{objective}")
    tried = candidates(recipe, is_keras=is_keras, has_training=has_training, has_calibration=has_calibration)
    texts = [one.text for one in tried]
    assert texts[0] == FLOAT32
    assert "int8" in texts
    assert 4 <= len(set(texts)) == len(texts) <= MOST_CANDIDATES
    assert any(one.structure for one in tried) == (is_keras and has_training)
    assert any(one.needs_calibration for one in tried) <= has_calibration
    assert not any(one.is_auto or one.is_serving_only for one in tried)


def test_a_recipe_that_was_asked_for_is_the_only_one_tried() -> None:
    recipe = Recipe.of("prune:80%+int8")
    assert candidates(recipe, is_keras=False, has_training=False, has_calibration=False) == (recipe,)


def test_a_release_for_servers_alone_has_nothing_to_try() -> None:
    recipe = Recipe.of("serving-only")
    assert (recipe.is_serving_only, recipe.needs_training, recipe.needs_calibration, recipe.structure) == (True, False, False, ())
    assert candidates(recipe, is_keras=True, has_training=True, has_calibration=True) == ()
