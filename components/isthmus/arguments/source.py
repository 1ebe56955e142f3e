"""What to compile, the promise it must keep, and the store that releases go to: what all components accept."""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.arguments.checking import Checked, Limited, M, Name, RecipeText
from isthmus.arguments.plan import PricesArgs
from isthmus.arguments.secrets import Secret
from isthmus.errors import InputError, Problem
from isthmus.limits import MIN_ACCURACY, TRAINING_DEADLINE_SECONDS, VERSION
from isthmus.sizing.cost import DEFAULT_PRICES, PriceTable, price_table

BUCKET = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]


class StoreArgs(TypedDict, total=False):
    """An S3 store that the stack does not own: endpoint URL, region, and credentials (secrets).

    pull_endpoint, pull_access_key, pull_secret_key: where and as whom servers fetch releases, which only need to read; left
    out: the same. prefix: of all keys.
    """

    endpoint: Input[str]
    region: Input[str]
    access_key: Input[str]
    secret_key: Input[str]
    pull_endpoint: Input[str]
    pull_access_key: Input[str]
    pull_secret_key: Input[str]
    prefix: Input[str]


class SourceArgs(TypedDict, total=False):
    """What to compile, and the promise it must keep. Shared by all components.

    recipe: a text such as "int8", "auto" or "prune:80% + int8", or a list of steps. min_accuracy: a share.
    training_deadline_seconds: for a recipe that trains. allow_unsafe: a .keras file may carry Python code, which then runs.
    signature: of a source with several. custom_objects: the module that registers the classes that a .keras file needs.
    """

    model: Input[str]
    model_name: Input[str]
    recipe: Input[Any]
    version: Input[int]
    evaluation: Input[str]
    min_accuracy: Input[float]
    training_deadline_seconds: Input[int]
    allow_unsafe: Input[bool]
    signature: Input[str]
    custom_objects: Input[str]
    platform: Input[str]
    bucket: Input[str]
    store: Input[StoreArgs]
    prices: Input[PricesArgs]


class StoreSettings(Checked):
    """Values may be Outputs of other resources, so nothing but their presence is checked here."""

    endpoint: Any
    region: Any = "us-east-1"
    access_key: Secret
    secret_key: Secret
    pull_endpoint: Any = None
    pull_access_key: Secret = None
    pull_secret_key: Secret = None
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9._-]+/)*$")] = ""

    def problems(self, path: str) -> Sequence[Problem]:
        found = []
        if (self.pull_access_key is None) != (self.pull_secret_key is None):
            found.append(Problem(path, "has one of pull_access_key and pull_secret_key", "both or neither", "add the other"))
        if {".", ".."} & {*self.prefix.split("/")}:
            found.append(Problem(f"{path}.prefix", f"is {self.prefix!r}, which is another prefix or bucket for some stores", "no . or .."))
        return found


class SourceSettings(Checked):
    """platform: one that is registered; `platforms.rules.with_platforms` sees to it."""

    model: Annotated[str, Field(min_length=1)]
    model_name: Name | None = None
    recipe: RecipeText = "int8"
    version: Annotated[int, Limited(VERSION)] = VERSION.default
    evaluation: str | None = None
    min_accuracy: Annotated[float, Limited(MIN_ACCURACY)] | None = None
    training_deadline_seconds: Annotated[int, Limited(TRAINING_DEADLINE_SECONDS)] = TRAINING_DEADLINE_SECONDS.default
    allow_unsafe: bool = False
    signature: Annotated[str, Field(min_length=1)] | None = None
    custom_objects: Annotated[str, Field(min_length=1)] | None = None
    platform: str = "local"
    bucket: BUCKET = "models"
    store: StoreSettings | None = None
    prices: dict[str, Any] | None = None

    def problems(self, path: str) -> Sequence[Problem]:
        return self.price_problems(path)

    def price_problems(self, path: str) -> Sequence[Problem]:
        """What is wrong with the prices."""
        try:
            self.price_table(f"{path}.prices")
        except InputError as error:
            return error.problems
        return ()

    def section(self, kind: type[M]) -> M:
        """The arguments of one platform: the section of that class, which `platforms.rules.with_platforms` adds."""
        return next(value for _, value in self if isinstance(value, kind))

    def price_table(self, path: str = "prices") -> PriceTable:
        """The prices to plan with. Raises InputError with everything that is wrong with those given."""
        return DEFAULT_PRICES if self.prices is None else price_table(self.prices, path=path)
