"""Recipes' structure steps: a Keras model in, a smaller Keras model out. Runs in the worker.

`shrink` does one step of a recipe; `STEPS` says which there are. What a step needs to train comes from the model's
folder (`load_training`). `graph` rebuilds a model with other layers in the place of some; `channels` finds which
channels of which weights belong together, and `narrow` takes some of them out; the other modules are one step each.

Every step keeps the names and shapes of the model's inputs and outputs, leaves the model that it was given as it is,
and gives the same weights whenever it is done again on the same kind of machine.
"""

from isthmus.compile.shrink.steps import STEPS, shrink
from isthmus.compile.shrink.training import Training, load_training

__all__ = ["STEPS", "Training", "load_training", "shrink"]
