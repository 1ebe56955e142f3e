"""The language of recipes: what to do to a model on its way to the edge variant. Pure; nothing here runs a step.

    recipe  = step *( "+" step )            or a list of steps
    step    = name [ ":" option ]           "prune:80%", "distil", "int8"

Structure steps change the network, one storage step then says how its weights are written; `auto` stands alone and searches,
`serving-only` stands alone and makes no edge variant. A recipe has one canonical text: defaults are written out, blanks and a
float32 that says nothing are left out, so that `parse(recipe.text, "")[0] == recipe` and equal recipes share one cache key. The
serving variant is a float32 SavedModel under every recipe: servers have the memory, and TensorFlow Serving has no int8 kernels for
SavedModels.
"""

import difflib
import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from isthmus.errors import InputError, Problem

FLOAT32 = "float32"
INT8_STATIC = "int8-static"
AUTO = "auto"
SERVING_ONLY = "serving-only"
SMALLEST, FASTEST = "smallest", "fastest"
MOST_CANDIDATES = 9
SERVERS_ALONE = f"name recipe {SERVING_ONLY} where servers alone shall run it"
"""The way out for a model that devices cannot run."""


@dataclass(frozen=True)
class Options:
    """What may stand behind a step's name. default: written out where nothing stands there; "" where nothing may stand there.

    percent: the range (both ends included) of a bare percentage. named: the same for `name=50%`. words: as they are.
    function: the name of a function in the model folder's model.py.
    """

    default: str = ""
    percent: tuple[int, int] | None = None
    named: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    function: bool = False

    def expected(self, name: str) -> str:
        """In words, for messages."""
        forms = [f"{name} alone"] if self.default or self.named else []
        forms += [f"{name}:{word}" for word in self.words]
        ranges = {"": self.percent} if self.percent else {f"{key}=": limits for key, limits in self.named.items()}
        forms += [f"{name}:{key}{low}% to {name}:{key}{high}%" for key, (low, high) in ranges.items()]
        forms += [f"{name}:FUNCTION of the folder's model.py"] if self.function else []
        return " or ".join(forms) or f"{name} alone, as it takes no option"


STORAGE: dict[str, str] = {
    FLOAT32: "weights and arithmetic as they were trained",
    "float16": "weights stored in 16 bits, computed in 32: half the size",
    "int8": "weights in 8 bits, one scale per channel; activations quantised as they come: about a quarter of the size",
    INT8_STATIC: "int8 with the activations' ranges measured on calibration data beforehand: integer arithmetic throughout",
    "int8-weights": "weights stored in 8 bits, computed in 32: the size of int8 where int8's arithmetic costs accuracy",
    "int4": "weights in 4 bits, one scale per channel; activations quantised to 8 bits as they come: about an eighth of the size",
    "int4-weights": "weights stored in 4 bits, computed in 32",
}
STRUCTURE: dict[str, str] = {
    "distil": "trains a smaller student on the model's answers: one derived from it with this share of its width, or a function's",
    "prune-filters": "removes this share of the network's filters and units, the least important ones, and fine-tunes: smaller and faster",
    "slim": "folds batch normalisation; rank=90% also splits layers by SVD where that pays, keeping that share of their energy; "
    "width=75% first narrows every layer to that share of its width, and fine-tunes",
    "prune": "sets this share of the network's weights to zero, the least important ones, while it fine-tunes: fewer bytes as shipped",
}
RECIPES: dict[str, str] = {
    **STORAGE,
    **STRUCTURE,
    SERVING_ONLY: "no variant for devices: a release for servers alone, of a model that devices cannot run, say",
    AUTO: f"tries a bounded set of recipes and takes the smallest (or, {AUTO}:{FASTEST}, the fastest) that keeps min_accuracy",
}
"""Every step and what it does, in the order to show them in."""

_OPTIONS: dict[str, Options] = {
    "distil": Options("50%", percent=(10, 90), function=True),
    "prune-filters": Options("50%", percent=(1, 90)),
    "slim": Options(named={"rank": (50, 100), "width": (10, 95)}),
    "prune": Options("80%", percent=(1, 99)),
    AUTO: Options(SMALLEST, words=(SMALLEST, FASTEST)),
}

# In what order structure steps may stand, by name and the option's key: the stage, and why it may not stand behind a later one. What is
# not here, plain slim, only moves scales from layer to layer and may stand anywhere.
_AS_BUILT = "it needs the layers as they were built, and its fine-tuning would fill zeros again"
_STAGES: dict[tuple[str, str], tuple[int, str]] = {
    ("distil", ""): (0, "the student learns best from the whole network, and keeps nothing of what was done to its teacher"),
    ("prune-filters", ""): (1, _AS_BUILT),
    ("slim", "width"): (1, _AS_BUILT),
    ("slim", "rank"): (2, "a layer's two factors have none of its zeros"),
    ("prune", ""): (3, ""),
}
_TRAINED = frozenset({("distil", ""), ("prune-filters", ""), ("slim", "width"), ("prune", "")})


@dataclass(frozen=True)
class Step:
    """One step. option: canonical, such as "80%" or "rank=90%"; "" where the step has none."""

    name: str
    option: str = ""

    @property
    def text(self) -> str:
        return f"{self.name}:{self.option}" if self.option else self.name

    @property
    def kind(self) -> tuple[str, str]:
        """The name, and what stands before the option's "=" ("" where nothing does)."""
        return self.name, self.option.partition("=")[0] if "=" in self.option else ""

    @property
    def percent(self) -> int | None:
        """The option's percentage, in [1, 100]; None where it has none."""
        number = self.option.rpartition("=")[2]
        return int(number[:-1]) if number.endswith("%") else None

    @property
    def function(self) -> str:
        """The function of model.py that the option names, else ""."""
        return self.option if _options(self.name).function and self.percent is None else ""

    @property
    def needs_training(self) -> bool:
        return self.kind in _TRAINED


@dataclass(frozen=True)
class Recipe:
    """Steps in the order in which they are done. Made by `parse`; a float32 behind structure steps is not among them."""

    steps: tuple[Step, ...]

    @classmethod
    def of(cls, text: str) -> "Recipe":
        """The recipe of a text that should be right. Raises InputError with all that is wrong with it."""
        recipe, problems = parse(text, "recipe")
        if recipe is None:
            raise InputError(problems)
        return recipe

    @property
    def text(self) -> str:
        return "+".join(step.text for step in self.steps)

    @property
    def structure(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.name in STRUCTURE)

    @property
    def storage(self) -> str:
        return next((step.name for step in self.steps if step.name in STORAGE), FLOAT32)

    @property
    def is_auto(self) -> bool:
        return self.steps[0].name == AUTO

    @property
    def is_serving_only(self) -> bool:
        return self.steps[0].name == SERVING_ONLY

    @property
    def objective(self) -> str:
        """SMALLEST or FASTEST: what `auto` looks for. SMALLEST for all others."""
        return self.steps[0].option if self.is_auto else SMALLEST

    @property
    def needs_training(self) -> bool:
        """Whether a step needs the training function. False for `auto`, whose candidates say so each."""
        return any(step.needs_training for step in self.steps)

    @property
    def needs_calibration(self) -> bool:
        return self.storage == INT8_STATIC


# What `auto` tries, the likeliest first: those whose needs are met, at most MOST_CANDIDATES. float32 keeps every gate that the source does.
# For size: what differs in bytes (static int8 does not). For speed: what differs in arithmetic (zeros do not), and float16, which takes
# float32's time at half its bytes.
_SEARCHED: dict[str, tuple[str, ...]] = {
    SMALLEST: (
        FLOAT32,
        "int8",
        "int4",
        "int8-weights",
        "int4-weights",
        "prune:80%+int8",
        "prune-filters:50%+int8",
        "prune-filters:50%+prune:70%+int8",
        "distil:50%+int8",
        "float16",
    ),
    FASTEST: (FLOAT32, "int8", INT8_STATIC, "int4", "prune-filters:50%+int8", "distil:50%+int8", "prune-filters:50%", "float16"),
}


def candidates(recipe: Recipe, *, is_keras: bool, has_training: bool, has_calibration: bool) -> tuple[Recipe, ...]:
    """The recipes of edge variants to try: the one that was asked for, at most MOST_CANDIDATES where it is `auto`, and none where servers
    alone get the model."""
    if recipe.is_serving_only:
        return ()
    if not recipe.is_auto:
        return (recipe,)
    tried = [Recipe.of(text) for text in _SEARCHED[recipe.objective]]
    possible = [
        one
        for one in tried
        if (is_keras or not one.structure) and (has_training or not one.needs_training) and (has_calibration or not one.needs_calibration)
    ]
    return tuple(possible[:MOST_CANDIDATES])


def parse(value: object, path: str) -> tuple[Recipe | None, list[Problem]]:
    """The recipe, or None and all that is wrong with it.

    Args:
        value: a text, or a list of steps.
        path: property path of the value; a step of a list is `path[1]`.
    """
    if isinstance(value, str):
        items = [(path, part) for part in value.split("+")]
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return None, [Problem(path, f"found {type(value).__name__}", "a recipe such as int8, or a list of steps")]
    if not items:
        return None, [Problem(path, "there is no step", "a recipe such as int8, or a list of steps", f"name one of {', '.join(RECIPES)}")]
    read = [(where, *_step(item, where)) for where, item in items]
    problems = [problem for _, _, found in read for problem in found]
    placed = [(where, step) for where, step, _ in read if step is not None]
    problems += _composition(placed, path)
    if problems:
        return None, problems
    steps = tuple(step for _, step in placed)
    return Recipe(tuple(step for step in steps if step.name != FLOAT32) or steps), []


def _step(item: object, path: str) -> tuple[Step | None, list[Problem]]:
    if isinstance(item, Mapping) and len(item) == 1:
        ((name, option),) = item.items()
        return None, [Problem(path, "found a mapping", f"{name}:{option}", "leave out the blank behind the colon, or put it in quotes")]
    if not isinstance(item, str):
        return None, [Problem(path, f"found {type(item).__name__}", "a step such as int8")]
    text = "".join(item.split())
    name, colon, option = text.partition(":")
    if name not in RECIPES:
        what = f"unknown recipe {text!r}" if text else "an empty step"
        return None, [Problem(path, what, "one of " + ", ".join(RECIPES), _near(text))]
    options = _options(name)
    canonical = _option(option, options) if colon else options.default
    if canonical is None:
        fix = _near(text) or _percent_near(name, option, options)
        return None, [Problem(path, f"{text!r} is not an option of {name}", options.expected(name), fix)]
    return Step(name, canonical), []


def _options(name: str) -> Options:
    return _OPTIONS.get(name, Options())


def _option(option: str, options: Options) -> str | None:
    """The option in canonical form, None where it is wrong."""
    if option in options.words or (options.function and option.isidentifier() and not keyword.iskeyword(option)):
        return option
    key, equals, number = option.rpartition("=")
    limits = options.named.get(key) if equals else options.percent
    digits = number.removesuffix("%")
    # ASCII alone: int() also reads other scripts' digits.
    if limits is None or not (digits.isascii() and digits.isdecimal()) or not limits[0] <= int(digits[:9]) <= limits[1]:
        return None
    return f"{key}{equals}{int(digits)}%"


def _near(text: str) -> str:
    """The step that was probably meant."""
    wanted = text.lower().replace("_", "-").replace(":", "-")
    close = difflib.get_close_matches(wanted, RECIPES, n=1) or difflib.get_close_matches(wanted.partition("-")[0], RECIPES, n=1)
    return f"did you mean {close[0]!r}?" if close and close[0] != text.partition(":")[0] else ""


def _percent_near(name: str, option: str, options: Options) -> str:
    """A share, as in 0.8, was probably meant as a percentage."""
    if options.percent is None:
        return ""
    try:
        meant = round(float(option) * 100)
    except (ValueError, OverflowError):
        return ""
    return f"did you mean {name}:{meant}%?" if options.percent[0] <= meant <= options.percent[1] else ""


_ALONE = {AUTO: "chooses them", SERVING_ONLY: "makes nothing for devices that steps could change"}
"""What stands beside no other step, and why."""


def _composition(placed: Sequence[tuple[str, Step]], path: str) -> list[Problem]:
    """What is wrong with steps that are each right, taken together."""
    names = [step.name for _, step in placed]
    alone = next((name for name in _ALONE if name in names), None)
    if alone and len(names) > 1:
        expected = f"{alone} alone, which {_ALONE[alone]}, or steps without it"
        return [Problem(path, f"{alone} stands beside other steps", expected, f"remove {alone}, or all but it")]
    problems = []
    stored = [name for name in dict.fromkeys(names) if name in STORAGE]
    if len(stored) > 1:
        what = f"{' and '.join(stored)} are {len(stored)} ways to store weights"
        problems.append(Problem(path, what, "at most one, as the last step", f"remove {' or '.join(stored)}"))
    wrong_order = False
    for index, (where, step) in enumerate(placed):
        if step.name in names[:index]:
            problems.append(Problem(where, f"{step.name} stands there twice", "each step once", f"remove {step.text}"))
        before = [earlier for _, earlier in placed[:index]]
        problem = _misplaced(step, before, where)
        if problem:
            wrong_order = True
            problems.append(problem)
    if wrong_order and len(problems) == 1:
        return [Problem(problems[0].path, problems[0].what, problems[0].expected, f"write {'+'.join(_in_order(placed))}")]
    return problems


def _misplaced(step: Step, before: Sequence[Step], where: str) -> Problem | None:
    """The problem of a step that must not stand behind one of those before it."""
    stored = next((earlier for earlier in before if earlier.name in STORAGE), None)
    if stored is not None:
        if step.name in STORAGE:
            return None  # said already: two ways to store
        return Problem(where, f"{step.text} stands behind {stored.text}", "changes of the network before the step that stores its weights")
    stage, why = _STAGES.get(step.kind, (max(_STAGES.values())[0], ""))
    late = next((earlier for earlier in before if _STAGES.get(earlier.kind, (-1, ""))[0] > stage), None)
    return Problem(where, f"{step.text} stands behind {late.text}: {why}", f"{step.name} before {late.name}") if late is not None else None


def _in_order(placed: Sequence[tuple[str, Step]]) -> list[str]:
    """The steps in an order that is right: plain slim first, the storage step last."""
    ordered = sorted((step for _, step in placed), key=lambda step: (step.name in STORAGE, _STAGES.get(step.kind, (-1, ""))[0]))
    return [step.text for step in ordered]
