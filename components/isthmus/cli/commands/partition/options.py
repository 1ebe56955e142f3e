"""`isthmus partition`: what may be asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.shared.options import Json
from isthmus.limits import PARTITION


@dataclass(frozen=True)
class Options:
    """What a user gives."""

    model: Annotated[str, typer.Argument(help="A model folder, a .keras or .tflite file, a SavedModel, or module:function.")]
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="What the device's variant is made by, such as int8 or float32.")] = "int8"
    evaluation: Annotated[Path | None, typer.Option(help="An .npz of held-out examples, in place of the folder's own.")] = None
    round_trip_ms: Annotated[float, typer.Option(help=f"{PARTITION['round_trip_ms'].what.capitalize()}.")] = PARTITION[
        "round_trip_ms"
    ].default
    speed_factor: Annotated[float, typer.Option(help=f"{PARTITION['speed_factor'].what.capitalize()}: of the class of devices.")] = (
        PARTITION["speed_factor"].default
    )
    cloud_speed_factor: Annotated[float, typer.Option(help=f"{PARTITION['cloud_speed_factor'].what.capitalize()}.")] = PARTITION[
        "cloud_speed_factor"
    ].default
    max_loss_percent: Annotated[float, typer.Option(help=f"{PARTITION['max_loss_percent'].what.capitalize()}.")] = PARTITION[
        "max_loss_percent"
    ].default
    margin_percent: Annotated[float, typer.Option(help=f"{PARTITION['margin_percent'].what.capitalize()}.")] = PARTITION[
        "margin_percent"
    ].default
    megabits_per_second: Annotated[
        list[float] | None, typer.Option("--megabits-per-second", "-b", help="A bandwidth to show; may be repeated. Else a sweep.")
    ] = None
    as_json: Json = False
